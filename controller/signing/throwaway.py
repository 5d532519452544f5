"""Devices that exist for one probe: their keys are drawn here and never written down."""

import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from controller.signing.authority import Authority, new_key
from controller.signing.keyfile import to_pem
from controller.signing.tls import client_context
from protocol.ids import Name
from protocol.units import Instant


def device_context(authority: Authority, name: Name, *, ca: Path, at: Instant) -> ssl.SSLContext:
    """Return the TLS context of a device that shows a certificate made for it now.

    Args:
        authority: who issues it; need not be the CA that *ca* holds.
        name: the device's name.
        ca: the CA that servers' certificates must come from, PEM.
        at: now.

    Raises:
        ssl.SSLError: when *ca* is no PEM.
        OSError: when *ca* cannot be read.
    """
    key = new_key()
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, SHA256())
    issued = authority.issue(request.public_bytes(Encoding.PEM).decode(), name, at=at)
    return client_context(ca=ca, certificate_pem=issued.certificate_pem.encode(), key_pem=to_pem(key))
