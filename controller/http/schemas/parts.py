"""Parts that many bodies and answers share: times, keys, reasons, pages."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from protocol.trust import instant_of

V = TypeVar("V")

KEY_BYTES = 32
REASON_LENGTH_MAX = 500
PEM_LENGTH_MAX = 16_384
GROUP_PATH_LENGTH_MAX = 600


def rfc3339(instant: int) -> str:
    """Return a time as text.

    >>> rfc3339(1767225600123)
    '2026-01-01T00:00:00.123Z'
    """
    moment = datetime.fromtimestamp(instant // 1000, tz=UTC).replace(microsecond=instant % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _key(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("expected base64 text")  # noqa: TRY004 - pydantic reads ValueError
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64 text") from error
    if len(raw) != KEY_BYTES:
        raise ValueError(f"expected {KEY_BYTES} bytes, found {len(raw)}")
    return raw


Time = Annotated[
    int,
    PlainSerializer(rfc3339),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
Moment = Annotated[AwareDatetime, AfterValidator(instant_of)]
Key = Annotated[bytes, BeforeValidator(_key), WithJsonSchema({"type": "string", "contentEncoding": "base64"})]
Base64 = Annotated[
    bytes,
    PlainSerializer(lambda raw: base64.b64encode(raw).decode()),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}, mode="serialization"),
]
Reason = Annotated[str, Field(min_length=1, max_length=REASON_LENGTH_MAX)]
Word = Annotated[str, Field(min_length=1, max_length=128)]
Pem = Annotated[str, Field(max_length=PEM_LENGTH_MAX)]


class Answer(BaseModel):
    """What all answers share: they are built from the attributes of a view."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """What all request bodies share: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class Page(Answer, Generic[V]):
    """One page of a list; `cursor` leads to the next one and is null on the last."""

    items: list[V]
    cursor: str | None
