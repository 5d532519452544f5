"""Releases, channels and artifacts."""

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from controller.app.paths import THROUGH_MAX
from controller.domain.ranges import LENGTH_MAX
from controller.http.schemas.parts import (
    Answer,
    Body,
    Reason,
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


class NewPath(Body):
    """From which versions a release may be installed, and why; with ranges and versions left out, from all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"allowed": ">=1.2", "through": ["2.0"], "reason": "2.0 moves the database"}]}
    )

    allowed: Annotated[str, Field(max_length=LENGTH_MAX)] = ""
    forbidden: Annotated[str, Field(max_length=LENGTH_MAX)] = ""
    through: Annotated[list[Word], Field(max_length=THROUGH_MAX)] = Field(default_factory=list)
    reason: Reason


class UpgradePath(Answer):
    """From which versions a release may be installed; all is empty where nobody has ordered anything."""

    app: str
    version: str
    allowed: str
    forbidden: str
    through: list[str]
    reason: str
    by: str
    at: Time | None


class Artifact(BaseModel):
    """Bytes that are stored."""

    sha256: str
    length: int
