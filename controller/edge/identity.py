"""Who a peer is: the one URI in its certificate, and nothing else it says."""

from collections.abc import Mapping
from typing import Any, Final

from controller.app.errors import NotAuthenticated
from protocol.errors import InvalidName
from protocol.ids import Name, TenantId, name_of, split_name

SAN_PREFIX: Final = "urn:tidegate:"


def name_of_peer(certificate: Mapping[str, Any] | None, tenant: TenantId) -> Name:
    """Return the device's name from a verified certificate, as `ssl.SSLSocket.getpeercert` describes it.

    Raises:
        NotAuthenticated: when there is not exactly one alternative name of ours, or it is another tenant's.
    """
    names = tuple((certificate or {}).get("subjectAltName", ()))
    match names:
        case (("URI", str(uri)),) if uri.startswith(SAN_PREFIX):
            return _of_tenant(uri.removeprefix(SAN_PREFIX), tenant)
    raise NotAuthenticated(f"certificate with {len(names)} alternative names: expected one URI, {SAN_PREFIX}<name>")


def _of_tenant(text: str, tenant: TenantId) -> Name:
    try:
        found, device = split_name(text)
    except InvalidName as error:
        raise NotAuthenticated(f"certificate: {error}") from error
    if found != tenant:
        raise NotAuthenticated(f"certificate of tenant {found!r}: expected {tenant!r}")
    return name_of(tenant, device)
