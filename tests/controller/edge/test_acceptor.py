"""Listening sockets and the size of TLS buffers."""

import asyncio
import errno
import socket
from asyncio import sslproto
from typing import Any

import pytest

from controller.app.errors import StorageUnavailable
from controller.edge.acceptor import TLS_BUFFER_BYTES, listen, shrink_tls_buffers


def addresses(*hosts: str) -> Any:
    """Return what the resolver says of a name with these addresses."""

    def resolve(host: str, port: int, **kwargs: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port)) for found in hosts]

    return resolve


def test_all_addresses_of_a_name_listen_on_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", addresses("127.0.0.1", "127.0.0.2"))
    sockets = listen("localhost", 0, backlog=1, service="MQTT")

    assert [listener.getsockname()[0] for listener in sockets] == ["127.0.0.1", "127.0.0.2"]
    assert len({listener.getsockname()[1] for listener in sockets}) == 1
    for listener in sockets:
        listener.close()


def test_an_address_that_this_machine_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", addresses("192.0.2.1", "127.0.0.1"))
    [listener] = listen("localhost", 0, backlog=1, service="MQTT")
    listener.close()

    monkeypatch.setattr(socket, "getaddrinfo", addresses("192.0.2.1"))
    with pytest.raises(StorageUnavailable, match="none of its addresses"):
        listen("elsewhere", 0, backlog=1, service="MQTT")


@pytest.mark.parametrize(("service", "option"), [("MQTT", "--mqtt-port"), ("HTTP", "--http-port")])
def test_a_port_that_is_taken_is_told(service: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StorageUnavailable) as refused:
            listen("127.0.0.1", port, backlog=1, service=service)
    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{port} for {service}: the port is in use; "
        f"is a controller running already? choose another with {option}"
    )


def test_one_address_that_fails_closes_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    create = socket.create_server

    def flaky(*args: Any, **kwargs: Any) -> socket.socket:
        if made:
            raise OSError(errno.EACCES, "Permission denied")
        made.append(create(*args, **kwargs))
        return made[0]

    monkeypatch.setattr(socket, "create_server", flaky)
    monkeypatch.setattr(socket, "getaddrinfo", addresses("127.0.0.1", "127.0.0.2"))
    with pytest.raises(StorageUnavailable, match="Permission"):
        listen("localhost", 0, backlog=1, service="MQTT")

    assert made[0].fileno() == -1


def test_tls_buffers_shrink_where_python_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 262_144, raising=False)
    shrink_tls_buffers()
    assert sslproto.SSLProtocol.max_size == TLS_BUFFER_BYTES

    monkeypatch.setattr(sslproto.SSLProtocol, "max_size", 1_000)
    shrink_tls_buffers()
    assert sslproto.SSLProtocol.max_size == 1_000

    monkeypatch.delattr(sslproto.SSLProtocol, "max_size")
    shrink_tls_buffers()
    assert not hasattr(sslproto.SSLProtocol, "max_size")


async def test_no_connection_holds_back_the_end_of_an_answer() -> None:
    """An answer in two writes waited 40 ms for the acknowledgement of the first."""
    [listener] = listen("127.0.0.1", 0, backlog=1, service="HTTP")
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def accepted(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken: socket.socket = writer.get_extra_info("socket")
        found.set_result(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(accepted, sock=listener), asyncio.timeout(10):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await found
        writer.close()
