"""Identifiers: their alphabets, and the one function that maps a name to its partition."""

import hashlib
import re
from typing import Final, NewType

from protocol.errors import InvalidName

TenantId = NewType("TenantId", str)
DeviceId = NewType("DeviceId", str)
"""The device's own part of its name, unique within the tenant."""
Name = NewType("Name", str)
"""``tenant:device``: certificate CN, MQTT client id and one topic level."""
RunId = NewType("RunId", str)
StageName = NewType("StageName", str)
AppName = NewType("AppName", str)
Digest = NewType("Digest", str)
"""SHA-256, 64 lower-case hexadecimal digits."""
KeyId = NewType("KeyId", str)
"""An unauthenticated hint which key signed; used only to pick a key."""

PART_LENGTH_MAX: Final = 63
PARTITIONS: Final = 256

_PART = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def parse_part(text: str, *, what: str = "identifier") -> str:
    """Check one part of a name: lower-case letters, digits and hyphens, at most 63.

    Raises:
        InvalidName: when *text* breaks that rule. A ``/``, ``+``, ``#`` or ``:`` in a part could
            reach another device's topics, so nothing is escaped and everything else is refused.

    >>> parse_part("kiosk-17")
    'kiosk-17'
    """
    if _PART.fullmatch(text) is None:
        rule = f"expected 1 to {PART_LENGTH_MAX} of a-z, 0-9 and '-', not starting with '-'"
        raise InvalidName(f"{what} {text[:80]!r} is not valid: {rule}")
    return text


def tenant_id(text: str) -> TenantId:
    """Parse a tenant's id; see `parse_part`."""
    return TenantId(parse_part(text, what="tenant"))


def device_id(text: str) -> DeviceId:
    """Parse a device's id; see `parse_part`."""
    return DeviceId(parse_part(text, what="device"))


def name_of(tenant: TenantId, device: DeviceId) -> Name:
    """Return the name by which certificate, MQTT session and topics know a device.

    >>> name_of(tenant_id("acme"), device_id("kiosk-17"))
    'acme:kiosk-17'
    """
    return Name(f"{tenant}:{device}")


def split_name(text: str) -> tuple[TenantId, DeviceId]:
    """Parse ``tenant:device``.

    Raises:
        InvalidName: when there are not exactly two valid parts.
    """
    tenant, colon, device = text.partition(":")
    if not colon:
        raise InvalidName(f"name {text[:80]!r} is not valid: expected 'tenant:device'")
    return tenant_id(tenant), device_id(device)


def parse_digest(text: str) -> Digest:
    """Check that *text* is a SHA-256 in lower-case hexadecimal.

    Raises:
        InvalidName: when it is not.
    """
    if _DIGEST.fullmatch(text) is None:
        raise InvalidName(f"digest {text[:80]!r} is not valid: expected 64 lower-case hexadecimal digits")
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    """Return the SHA-256 of *data*."""
    return Digest(hashlib.sha256(data).hexdigest())


def partition_of(name: Name) -> int:
    """Return the partition, 0 to 255, of a device's uplink; part of the wire, so it never changes.

    >>> partition_of(Name("acme:kiosk-17"))
    170
    """
    return hashlib.sha256(name.encode()).digest()[0]
