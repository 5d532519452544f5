"""Who calls: operators with bearer tokens, devices with signed requests. What they may do is for the use cases."""

import base64
import binascii
from typing import Annotated, Any, Final

import msgspec
from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.security.http import HTTPBase

from controller.app import devices, tokens
from controller.app.access import Actor, RequestKey
from controller.app.controller import Controller
from controller.app.errors import InvalidRequest, NotAuthenticated
from protocol.ids import Name, digest_of
from protocol.messages import MESSAGE_BYTES_MAX

DEVICE_SCHEME = "Tidegate-DSSE"
SECRET_LENGTH_MAX = 512
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
KEY_LENGTH_MAX: Final = 128

_bearer = HTTPBearer(scheme_name="token", description="An API token", auto_error=False)
_signed = HTTPBase(
    scheme=DEVICE_SCHEME.lower(),
    scheme_name="device",
    description="Base64 of a DSSE envelope over a `DeviceRequest`, signed with the device's key",
    auto_error=False,
)
BearerHeader = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
SignedHeader = Annotated[HTTPAuthorizationCredentials | None, Security(_signed)]


async def controller_of(request: Request) -> Controller:
    """Return the controller that the application was made for.

    It awaits nothing, but the framework would call a plain function in a thread, for every request.
    """
    controller: Controller = request.app.state.controller
    return controller


Context = Annotated[Controller, Depends(controller_of)]


async def _operator(c: Context, request: Request, header: BearerHeader) -> Actor:
    if header is None:
        raise NotAuthenticated("expected the header 'Authorization: Bearer <token>'")
    if len(header.credentials) > SECRET_LENGTH_MAX:
        raise NotAuthenticated("the token is not valid: unknown, expired or revoked")
    actor = await tokens.authenticate(c, header.credentials)
    key = await _request_key(request)
    return actor if key is None else msgspec.structs.replace(actor, request=key)


async def _request_key(request: Request) -> RequestKey | None:
    """Return by what a caller may send a request again; only POST needs it, all else is idempotent."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is None or request.method != "POST":
        return None
    if not 1 <= len(key) <= KEY_LENGTH_MAX or not key.isprintable():
        raise InvalidRequest(f"{IDEMPOTENCY_KEY}: expected 1 to {KEY_LENGTH_MAX} printable characters")
    asked = f"{request.url.path}?{request.url.query}\0".encode() + await request.body()
    return RequestKey(key=key, fingerprint=digest_of(asked))


async def _device(c: Context, request: Request, header: SignedHeader) -> Name:
    if header is None or header.scheme.lower() != DEVICE_SCHEME.lower():
        raise NotAuthenticated(f"expected the header 'Authorization: {DEVICE_SCHEME} <base64 envelope>'")
    envelope = _envelope(header.credentials)
    body = await request.body()
    return await devices.authenticate(c, envelope=envelope, method=request.method, path=request.url.path, body=body)


def _envelope(text: str) -> bytes:
    if len(text) > 2 * MESSAGE_BYTES_MAX:
        raise NotAuthenticated(f"the envelope is too large: expected at most {MESSAGE_BYTES_MAX} bytes")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotAuthenticated("the envelope is no base64") from error


async def _either(request: Request) -> Actor | Name:
    """Return who calls; all devices' downloads pass here, and each dependency would cost a tenth of a millisecond."""
    c, signed = await controller_of(request), await _signed(request)
    if signed is not None and signed.scheme.lower() == DEVICE_SCHEME.lower():
        return await _device(c, request, signed)
    bearer = await _bearer(request)
    if bearer is None:
        raise NotAuthenticated(
            f"expected the header 'Authorization: Bearer <token>' or 'Authorization: {DEVICE_SCHEME} <base64 envelope>'"
        )
    return await _operator(c, request, bearer)


Operator = Annotated[Actor, Depends(_operator)]
Device = Annotated[Name, Depends(_device)]
OperatorOrDevice = Annotated[Actor | Name, Depends(_either)]
EITHER: Final[dict[str, Any]] = {"security": [{_bearer.scheme_name: []}, {_signed.scheme_name: []}]}
"""What the OpenAPI document says of a route with an `OperatorOrDevice`."""
