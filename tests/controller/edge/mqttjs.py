"""mqtt.js as it comes from npm, installed once below ``var/`` of the checkout at one version."""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

VERSION: Final = "5.16.0"
CHECKOUT: Final = Path(__file__).resolve().parents[3]
CACHE: Final = CHECKOUT / "var" / "npm"
INSTALL_SECONDS: Final = 90.0
_TOLD_LENGTH: Final = 300
_INSTALL: Final = ("npm", "install", "--no-save", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")


class Unavailable(Exception):
    """mqtt.js cannot be installed here; the message says why."""


def mqttjs(*, cache: Path = CACHE) -> Path:
    """Return the folder that node's NODE_PATH is to name; tests of several processes may ask at once.

    Raises:
        Unavailable: without node, npm or their registry.
    """
    folder = cache / f"mqtt-{VERSION}"
    if missing := [program for program in ("node", "npm") if shutil.which(program) is None]:
        raise Unavailable(f"not installed: {', '.join(missing)}")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=cache))
        try:
            _install(fresh)
            with suppress(OSError):  # another process was quicker, and made the same
                fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    command = (*_INSTALL, "--loglevel=error", "--prefix", str(folder), f"mqtt@{VERSION}")
    env = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=env, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"not installed after {INSTALL_SECONDS:.0f} s") from error
    if done.returncode != 0:
        raise Unavailable(f"npm ended with code {done.returncode}: {done.stderr.strip()[:_TOLD_LENGTH]}")
