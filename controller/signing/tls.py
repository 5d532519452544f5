"""TLS as the controller speaks it: which peers get in, and whom it trusts where it is the client."""

import os
import ssl
from pathlib import Path


def server_context(
    *,
    certificate: Path,
    key: Path,
    ca: Path | None,
    require_client: bool = True,
    password: bytes | None = None,
) -> ssl.SSLContext:
    """Return the context of a listener.

    Args:
        certificate: the listener's certificate and chain, PEM.
        key: its private key, PEM.
        ca: the CA that client certificates must come from; needed when they are required.
        require_client: whether every peer must show a certificate of *ca*; TLS 1.3 only then, since all such peers
            are devices of ours. Browsers and mirrors may still speak 1.2.
        password: of the key file, where it has one.

    Raises:
        ssl.SSLError: when certificate and key do not belong together, or a file is no PEM.
        OSError: when a file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key, password)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if require_client:
        assert ca is not None, "whoever requires client certificates names the CA they come from"
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(ca)
        # Nobody resumes a session with a client certificate; tickets cost a fifth of the handshake (measured).
        context.num_tickets = 0
    return context


def client_context(*, ca: Path, certificate_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Return the context of a client that shows a certificate which no disk has seen.

    Args:
        ca: the CA that the server's certificate must come from, PEM; its host name is checked too.
        certificate_pem: the client's certificate.
        key_pem: its private key.

    Raises:
        ssl.SSLError: when certificate and key do not belong together, or *ca* is no PEM.
        OSError: when *ca* cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    _load_from_memory(context, key_pem + certificate_pem)
    return context


def _load_from_memory(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key; the library takes them from a file only, so the file has no name and no disk."""
    with os.fdopen(os.memfd_create("tidegate-client"), "wb") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
