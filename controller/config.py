"""The controller's settings: from flags, then ``TIDEGATE_*`` in the environment, then the defaults here."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from controller.address import BrokerAddress, Network, Place, parse_broker, parse_networks, parse_place
from protocol.profiles import Profile

Port = Annotated[int, Field(ge=0, le=65_535)]


class Settings(BaseSettings):
    """What ``tidegate serve`` needs to know.

    `folder` is what ``tidegate init`` made. `public_host` is the name by which devices reach this machine; it must be
    among the hosts of the server certificate. Port 0 takes a free one. A device that asks for a longer keepalive than
    `mqtt_keepalive_s` gets that one: shorter finds broken connections sooner, longer saves mobile data.

    With a `broker_url` devices are reached over that broker instead of the built-in endpoint. `broker_devices` is where
    they find it, ``host:port``; `broker_profile` is what it can do. `broker_ca` holds the CA of its certificate, where
    that is not the installation's own.

    The checks of stages reach public addresses alone, and those within `check_networks`, joined by commas; without TLS
    only with `check_plain_http`. `check_ca` holds CAs that servers are known by, where the system's own do not do.
    """

    model_config = SettingsConfigDict(env_prefix="TIDEGATE_", frozen=True, extra="ignore", hide_input_in_errors=True)

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
    broker_url: str = Field(default="", repr=False)  # it may hold a password
    broker_profile: Profile = Profile.MQTT5
    broker_devices: str = ""
    broker_ca: Path | None = None
    check_networks: str = ""
    check_plain_http: bool = False
    check_ca: Path | None = None
    downloads_in_flight_max: Annotated[int, Field(ge=1)] = 256

    @field_validator("broker_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if url:
            parse_broker(url)
        return url

    @field_validator("broker_devices")
    @classmethod
    def _check_devices(cls, devices: str) -> str:
        if devices:
            parse_place(devices)
        return devices

    @field_validator("check_networks")
    @classmethod
    def _check_networks(cls, networks: str) -> str:
        parse_networks(networks)
        return networks

    @model_validator(mode="after")
    def _check_broker(self) -> Self:
        if bool(self.broker_url) != bool(self.broker_devices):
            raise ValueError("broker_url and broker_devices go together: give both, or none for the built-in endpoint")
        return self

    @property
    def broker(self) -> BrokerAddress | None:
        """The external broker, None where the built-in endpoint serves."""
        return parse_broker(self.broker_url) if self.broker_url else None

    @property
    def devices_at_broker(self) -> Place:
        """Where devices reach the external broker."""
        return parse_place(self.broker_devices)

    @property
    def networks_of_checks(self) -> tuple[Network, ...]:
        """Which addresses checks may reach beside public ones."""
        return parse_networks(self.check_networks)

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
