"""Bytes to message and back. Total: whatever the bytes, the only error is `MalformedMessage`."""

from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from protocol.errors import MalformedMessage
from protocol.messages import MESSAGE_BYTES_MAX

T = TypeVar("T")

_encoder = msgspec.json.Encoder()


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def encode(message: object) -> bytes:
    """Return *message* as JSON, UTF-8."""
    return _encoder.encode(message)


def decode(data: bytes, kind: type[T], *, bytes_max: int = MESSAGE_BYTES_MAX) -> T:
    """Parse *data* as one *kind*, a message class or a union of them.

    Raises:
        MalformedMessage: when *data* is longer than *bytes_max*, is no JSON, nests too deeply, or lacks or breaks a
            field; the text names the field.
    """
    if len(data) > bytes_max:
        raise MalformedMessage(f"{len(data)} bytes: expected at most {bytes_max}")
    try:
        parsed: T = _decoder(cast("Any", kind)).decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedMessage(f"expected {getattr(kind, '__name__', 'a message')}: {error}") from error
    return parsed
