"""Releases, channels and artifacts."""

from pydantic import (
    BaseModel,
    ConfigDict,
)

from controller.http.schemas.parts import (
    Answer,
    Body,
    Time,
    Word,
)


class Release(Answer):
    """One release as the release key signed it, and its state: who made it so, when and why."""

    app: str
    version: str
    path: str
    sha256: str
    length: int
    counter: int
    floor: int
    installer: str
    hardware: list[str]
    published_at: Time
    channels: list[str]
    state: str
    state_reason: str
    state_by: str
    state_at: Time | None


class NewChannel(Body):
    """The channel to put a release into."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channel": "stable"}]})

    channel: Word


class Channel(Answer):
    """A release in a channel of its app, and the runs that its appearance started."""

    app: str
    channel: str
    version: str
    at: Time
    actor: str
    runs: list[str]


class Artifact(BaseModel):
    """Bytes that are stored."""

    sha256: str
    length: int
