"""Why a controller cannot be spoken to: what the libraries raise, in words that say what to do about it."""

import socket
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import httpx

from controller.cli.contexts import Context
from controller.cli.failures import CliError, ExitCode

# X509_V_ERR_* of OpenSSL's x509_vfy.h.
OTHER_NAME: Final = frozenset({62, 64})
"""The certificate is not for the host name, or not for the address."""
NOT_SIGNED: Final = frozenset({2, 7, 18, 19, 20, 21})
"""No trusted certificate signed it: no issuer, another key of the same name, self-signed, no chain."""


def require_https(url: str) -> None:
    """Go on only with the address of an HTTPS server.

    Raises:
        CliError: with `ExitCode.USAGE` otherwise.
    """
    try:
        parts = urlsplit(url)
        is_https = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or out of range
        is_https = False
    if not is_https:
        raise CliError(f"{url}: expected https://host:port", code=ExitCode.USAGE)


def tls_context(ca: str) -> ssl.SSLContext:
    """Return a TLS context that trusts the certificates of the file *ca*; those of the system where it is empty.

    Raises:
        CliError: when there is no such file, or no certificate in it.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except FileNotFoundError as error:
        raise CliError(f"{ca} does not exist") from error
    except ssl.SSLError as error:
        raise CliError(f"{ca} holds no PEM certificate") from error
    except OSError as error:
        raise CliError(f"{ca} cannot be read: {error.strerror}") from error


def is_passing(error: BaseException) -> bool:
    """Say whether another try may help: it does not where the other side is not trusted or speaks no TLS."""
    return isinstance(error, httpx.TransportError) and not isinstance(_root(error), ssl.SSLError)


def explain(error: httpx.HTTPError, context: Context, *, has_answered: bool) -> CliError:
    """Return what an error of the connection means; *has_answered* says that the controller was there before."""
    root = _root(error)
    unreachable = f"{context.url} cannot be reached"
    match root:
        case ssl.SSLCertVerificationError():
            return CliError(_distrust(root, context))
        case ConnectionRefusedError():
            return CliError(f"{unreachable}: is the controller running (tidegate serve)?")
        case socket.gaierror():
            return CliError(f"{unreachable}: there is no host of that name")
    if isinstance(error, httpx.TimeoutException):
        return CliError(f"{unreachable}: there was no answer in time")
    if not has_answered and _speaks_otherwise(error, root):
        return CliError(f"{context.url} answers no HTTPS: is that the MQTT port?")
    return CliError(f"{unreachable}: {error}")


def _speaks_otherwise(error: httpx.HTTPError, root: BaseException) -> bool:
    """Say whether there was a connection, but no TLS or no HTTP on it."""
    if isinstance(error, httpx.ConnectError):
        return isinstance(root, ssl.SSLError | ConnectionResetError)
    return isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError)


def _distrust(error: ssl.SSLCertVerificationError, context: Context) -> str:
    if error.verify_code in OTHER_NAME:
        host = urlsplit(context.url).hostname
        return (
            f"the certificate of the controller is not for {host}: use one of its names, "
            "or add it with tidegate init --host"
        )
    if error.verify_code in NOT_SIGNED:
        authority = context.ca or "the system's authorities"
        return (
            f"the certificate of {context.url} is not signed by {authority}: "
            "pass --ca installation/ca.crt (or set TIDEGATE_CA)"
        )
    return f"the certificate of {context.url} is not valid: {error.verify_message}"


def _root(error: BaseException) -> BaseException:
    """Return the error of the operating system or of TLS that lies below, the error itself where there is none."""
    return next((cause for cause in _causes(error) if isinstance(cause, OSError)), error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
