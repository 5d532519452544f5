"""Why a device is not updated."""

from controller.http.schemas.devices import Installed
from controller.http.schemas.parts import Answer, Time


class Fact(Answer):
    """One fact: `change` is what would change it, `until` when it changes by itself."""

    code: str
    text: str
    change: str
    until: Time | None


class Why(Answer):
    """Why a device is not updated by one run, the most decisive fact first; `stage` is empty where none has it."""

    run: str
    job: str
    app: str
    version: str
    state: str
    stage: str
    facts: list[Fact]


class DeviceWhy(Answer):
    """Why a device is not updated by any run: all active ones, or else the last one; `facts` hold without a run."""

    device: str
    installed: list[Installed]
    facts: list[Fact]
    runs: list[Why]
