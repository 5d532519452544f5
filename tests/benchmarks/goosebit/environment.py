"""goosebit's own environment: made once below ``var/`` of the checkout, from pinned and hashed requirements."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parents[3]
REQUIREMENTS: Final = CHECKOUT / "requirements" / "bench-goosebit.txt"
CACHE: Final = CHECKOUT / "var" / "bench"
INSTALL_SECONDS: Final = 300.0
_READY: Final = ".ready"
_NAME_LENGTH: Final = 12
_TOLD_LENGTH: Final = 300


class Unavailable(Exception):
    """goosebit cannot be installed here, as without a package index; the message says why."""


def environment(requirements: Path = REQUIREMENTS, *, cache: Path = CACHE) -> Path:
    """Return the interpreter of an environment with *requirements* and nothing else.

    Raises:
        Unavailable: when it cannot be made.
    """
    wanted = sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:_NAME_LENGTH]
    folder = cache / f"goosebit-{wanted}"
    python = folder / "bin" / "python"
    if not (folder / _READY).exists():
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run left
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(requirements))
        (folder / _READY).touch()
    return python


def _run(*command: str) -> None:
    env = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=env, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"not installed after {INSTALL_SECONDS:.0f} s") from error
    if done.returncode != 0:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unavailable(told[-1][:_TOLD_LENGTH] if told else f"{command[1:3]} ended with code {done.returncode}")
