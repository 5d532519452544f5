"""What the agent knows about its device."""

import platform
from pathlib import Path
from typing import Final

from agent.errors import EnvironmentFault
from agent.files import disk_free_bytes
from protocol.health import HEALTH, MEASURE, WATCH

AGENT_VERSION: Final = "0.1.0"
CAPABILITIES: Final = ("install", "hold", "go", "cancel", HEALTH, WATCH, MEASURE)

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the kernel's name for this boot.

    Raises:
        EnvironmentFault: when the kernel gives none; the agent needs Linux.
    """
    try:
        return _BOOT_ID.read_text().strip()
    except OSError as error:
        raise EnvironmentFault(f"{_BOOT_ID} cannot be read: {error.strerror}; the agent needs Linux") from error


def facts(folder: Path, *, model: str) -> dict[str, str]:
    """Return what the hello tells about the device; *folder* is on the disk that counts."""
    return {
        "model": model,
        "arch": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "disk_free_bytes": str(disk_free_bytes(folder)),
        "boot_id": boot_id(),
    }
