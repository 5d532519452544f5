"""Devices that exist for one probe: their keys are drawn here and never written down."""

import ssl
import warnings
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from controller.signing.authority import Authority, new_key
from controller.signing.keyfile import to_pem
from controller.signing.tls import client_context
from protocol.ids import Name
from protocol.units import Instant

_OLD_CIPHERS: Final = "DEFAULT:@SECLEVEL=0"
"""Without this, OpenSSL 3 does not offer TLS 1.1 at all."""


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


def dated(context: ssl.SSLContext) -> ssl.SSLContext:
    """Return *context* changed so that it offers TLS 1.0 and 1.1 alone, and trusts any server."""
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(_OLD_CIPHERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # to offer what is deprecated is the purpose
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context
