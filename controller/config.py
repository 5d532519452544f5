"""The controller's settings: from flags, then ``TIDEGATE_*`` in the environment, then the defaults here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65_535)]


class Settings(BaseSettings):
    """What ``tidegate serve`` needs to know.

    `folder` is what ``tidegate init`` made. `public_host` is the name by which devices reach this machine; it must be
    among the hosts of the server certificate. Port 0 takes a free one. A device that asks for a longer keepalive than
    `mqtt_keepalive_s` gets that one: shorter finds broken connections sooner, longer saves mobile data.
    """

    model_config = SettingsConfigDict(env_prefix="TIDEGATE_", frozen=True, extra="ignore")

    folder: Path = Path("tidegate")
    tenant: str = "default"
    public_host: str = "localhost"
    http_host: str = "127.0.0.1"
    http_port: Port = 8443
    mqtt_host: str = "127.0.0.1"
    mqtt_port: Port = 8883
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    mqtt_keepalive_s: Annotated[int, Field(ge=1, le=65_535)] = 300
    downloads_in_flight_max: Annotated[int, Field(ge=1)] = 256

    @property
    def database_url(self) -> str:
        """Where the database is."""
        return f"sqlite:///{self.folder / 'tidegate.db'}"

    @property
    def artifact_folder(self) -> Path:
        """Where artifacts are."""
        return self.folder / "artifacts"

    @property
    def hook_key_file(self) -> Path:
        """Where the key is from which the secrets of webhooks are derived."""
        return self.folder / "hooks.key"

    @property
    def admin_token_file(self) -> Path:
        """Where the first administrator finds its token."""
        return self.folder / "admin.token"
