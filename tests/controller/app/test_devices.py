"""Enrolment, signed requests, labels and lists."""

import pytest

from controller.app import devices, tokens
from controller.app.errors import Conflict, InvalidRequest, NotAllowed, NotAuthenticated, NotFound
from protocol.codec import encode
from protocol.envelope import seal
from protocol.ids import digest_of
from protocol.messages import DeviceRequest, PayloadType
from protocol.units import HOUR, MINUTE, later
from simulator.virtual.scheduler import run_now
from tests.controller.app.rig import ADMIN, Rig

PAPERS = {
    "model": "k1",
    "hardware_id": "serial-1",
    "csr_pem": "csr",
    "signing_key": bytes(range(32)),
    "sealing_key": bytes(32),
}


@pytest.fixture
def rig() -> Rig:
    return Rig()


def claim(rig: Rig, uses: int = 1) -> str:
    return rig.do(tokens.create_claim, uses=uses, expires_at=later(rig.clock.time, HOUR)).secret


def enrol(rig: Rig, secret: str, device: str = "kiosk-1", **papers: object) -> object:
    return run_now(devices.enrol(rig.controller, claim=secret, device=device, **(PAPERS | papers)))  # type: ignore[arg-type]


def test_a_device_enrols_with_a_claim(rig: Rig) -> None:
    enrolment = enrol(rig, claim(rig))

    assert (enrolment.name, enrolment.fleet_root) == ("acme:kiosk-1", b"fleet")  # type: ignore[attr-defined]
    assert run_now(devices.get(rig.controller, ADMIN, device="kiosk-1")).model == "k1"


def test_a_claim_is_good_for_its_uses_and_its_time(rig: Rig) -> None:
    once = claim(rig)
    enrol(rig, once, "one")
    with pytest.raises(NotAuthenticated):
        enrol(rig, once, "two")

    expired = claim(rig)
    rig.clock.time = later(rig.clock.time, HOUR)
    with pytest.raises(NotAuthenticated):
        enrol(rig, expired, "three")
    with pytest.raises(NotAuthenticated):
        enrol(rig, "tgc_unknown", "four")


@pytest.mark.parametrize(
    ("device", "papers"),
    [
        ("a/b", {}),
        ("+", {}),
        ("#", {}),
        ("acme:x", {}),
        ("", {}),
        ("kiosk-1", {"signing_key": b"short"}),
        ("kiosk-1", {"sealing_key": b"short"}),
        ("kiosk-1", {"csr_pem": "bad"}),
    ],
)
def test_bad_papers_leave_the_claim_unspent(rig: Rig, device: str, papers: dict[str, object]) -> None:
    once = claim(rig)

    with pytest.raises(InvalidRequest):
        enrol(rig, once, device, **papers)

    enrol(rig, once)


def test_a_blocked_device_cannot_enrol_anew_and_spends_no_claim(rig: Rig) -> None:
    enrol(rig, claim(rig))
    rig.do(devices.block, device="kiosk-1", reason="stolen")
    once = claim(rig)

    with pytest.raises(NotAllowed):
        enrol(rig, once)

    enrol(rig, once, "kiosk-2")


def signed(rig: Rig, name: str, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "device": rig.devices[name].name,
        "method": "GET",
        "path": "/v1/x",
        "at": rig.clock.time,
        "nonce": "0" * 32,
        "body_sha256": digest_of(b""),
    }
    request = DeviceRequest(**(fields | changes))  # type: ignore[arg-type]
    return seal(encode(request), PayloadType.REQUEST, rig.devices[name].key)


def authenticate(rig: Rig, envelope: bytes, path: str = "/v1/x") -> str:
    return run_now(devices.authenticate(rig.controller, envelope=envelope, method="GET", path=path, body=b""))


def test_a_signed_request_tells_which_device_asks(rig: Rig) -> None:
    rig.enrol("a")

    assert authenticate(rig, signed(rig, "a")) == "acme:a"
    assert authenticate(rig, signed(rig, "a", at=0)) == "acme:a"


def test_a_request_that_is_not_exactly_what_was_signed_is_refused(rig: Rig) -> None:
    rig.enrol("a", "b")
    rig.do(devices.block, device="b", reason="stolen")
    forged = seal(
        encode(
            DeviceRequest(
                device=rig.devices["a"].name,
                method="GET",
                path="/v1/x",
                at=rig.clock.time,
                nonce="0" * 32,
                body_sha256=digest_of(b""),
            )
        ),
        PayloadType.REQUEST,
        rig.devices["b"].key,
    )
    old = signed(rig, "a", at=rig.clock.time - 11 * MINUTE)
    for envelope in (b"junk", forged, old, signed(rig, "b"), signed(rig, "a", body_sha256=digest_of(b"x"))):
        with pytest.raises(NotAuthenticated):
            authenticate(rig, envelope)
    with pytest.raises(NotAuthenticated):
        authenticate(rig, signed(rig, "a"), path="/v1/y")


def test_a_device_renews_its_certificate_unless_it_is_blocked(rig: Rig) -> None:
    rig.enrol("a")
    name = rig.devices["a"].name

    issued = run_now(devices.renew(rig.controller, name, csr_pem="csr"))
    assert run_now(devices.get(rig.controller, ADMIN, device="a")).certificate_expires_at == issued.expires

    rig.do(devices.block, device="a", reason="stolen")
    with pytest.raises(NotAllowed):
        run_now(devices.renew(rig.controller, name, csr_pem="csr"))


def test_labels_are_replaced_and_filtered_by(rig: Rig) -> None:
    rig.enrol("a", "b", region="eu")

    rig.do(devices.set_labels, device="a", labels={"region": "us"})

    page = rig.do(devices.list_devices, labels={"region": "us"})
    assert [d.device for d in page.items] == ["a"]
    with pytest.raises(InvalidRequest):
        rig.do(devices.set_labels, device="a", labels={f"k{i}": "" for i in range(65)})
    with pytest.raises(InvalidRequest):
        rig.do(devices.set_labels, device="a", labels={"": "x"})
    with pytest.raises(NotFound):
        rig.do(devices.set_labels, device="z", labels={})


def test_a_list_goes_on_where_its_cursor_says(rig: Rig) -> None:
    rig.enrol(*"abcde")
    seen: list[str] = []
    cursor = None
    while True:
        page = rig.do(devices.list_devices, labels={}, cursor=cursor, limit=2)
        seen += [d.device for d in page.items]
        cursor = page.cursor
        if cursor is None:
            break

    assert seen == list("abcde")
    with pytest.raises(InvalidRequest):
        rig.do(devices.list_devices, labels={}, cursor="%%%")


def test_a_device_enrols_anew_with_its_own_hardware_only(rig: Rig) -> None:
    enrol(rig, claim(rig))
    once = claim(rig)

    with pytest.raises(Conflict, match="other hardware"):
        enrol(rig, once, hardware_id="serial-2")

    enrol(rig, once, signing_key=bytes(reversed(range(32))))
