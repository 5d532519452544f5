"""What is an address, and what is not."""

import pytest

from controller.address import BrokerAddress, Place, parse_broker, parse_place


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtts://broker.example:8884", BrokerAddress("broker.example", 8884)),
        ("mqtts://broker.example", BrokerAddress("broker.example", 8883)),
        ("mqtt://127.0.0.1/", BrokerAddress("127.0.0.1", 1883, is_tls=False)),
        ("mqtts://[::1]:1", BrokerAddress("::1", 1)),
        ("mqtts://tide:p%40ss%2Fword@b", BrokerAddress("b", 8883, user="tide", password="p@ss/word")),
    ],
)
def test_a_brokers_url(url: str, address: BrokerAddress) -> None:
    assert parse_broker(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "broker.example:8883",
        "https://user:secret@b",
        "mqtts://user:secret@",
        "mqtts://user:secret@b:port",
        "mqtts://user:secret/x@b",
        "mqtts://user:secret@b:70000",
        "mqtts://user:secret@b/path",
        "mqtts://user:secret@b?query",
        "mqtts://[user:secret@b",
    ],
)
def test_what_is_none_is_refused_without_repeating_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="expected mqtts://") as refused:
        parse_broker(url)
    assert "secret" not in str(refused.value)


def test_a_place() -> None:
    assert parse_place("broker.example:8883") == Place("broker.example", 8883)
    for wrong in ("broker.example", ":8883", "a b:1", "b:0", "user@b:1", "b:1/x", "b:x", "[::1"):
        with pytest.raises(ValueError, match="expected host:port"):
            parse_place(wrong)
