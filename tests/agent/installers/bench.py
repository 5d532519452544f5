"""An archive installer in a folder, and the archives of an app called shop."""

import io
import json
import tarfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent.core.model import Work, work_of
from agent.installers.archive import ArchiveInstaller
from agent.installers.port import Job
from agent.installers.service import Services
from protocol.ids import Digest, digest_of
from protocol.trust import ReleaseInfo
from tests.agent.world import SHOP_1, command

SERVICE = """
import http.server, os, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(STATUS)
        self.end_headers()
        self.wfile.write(BODY)
    def log_message(self, *args): pass
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def tar_of(members: dict[str, Any], *, mode: str = "w:gz") -> bytes:
    """Return an archive; a value is a file's bytes or text, a `TarInfo`, or JSON."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content, io.BytesIO(bytes(content.size)))
                continue
            raw = content if isinstance(content, bytes) else str(content).encode()
            raw = json.dumps(content).encode() if isinstance(content, dict) else raw
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    return data.getvalue()


def manifest(version: str = "1.0", **changes: Any) -> dict[str, Any]:
    return {"name": "shop", "version": version, **changes}


def service(version: str = "1.0", *, status: int = 200, body: str = "") -> dict[str, Any]:
    """Return the members of an app that serves its version."""
    told = body or json.dumps({"version": version})
    return {
        "app.json": manifest(
            version,
            start=["python3", "service.py"],
            stop_ms=2_000,
            probe={"http": "http://127.0.0.1:{port}/", "timeout_ms": 4_000, "interval_ms": 20},
        ),
        "service.py": f"STATUS, BODY = {status}, {told!r}.encode()\n{SERVICE}",
    }


class Bench:
    """An installer in a folder."""

    def __init__(self, folder: Path, port: int, *, lock_wait_ms: int = 300) -> None:
        self.folder = folder
        self.apps = folder / "apps"
        self.home = self.apps / "shop"
        self.port = port
        self.lock_wait_ms = lock_wait_ms
        self.restart()

    def restart(self) -> None:
        """Begin again, as a new agent process does."""
        self.services = Services(ports={"shop": self.port}, keep_running=False)
        self.installer = ArchiveInstaller(
            self.apps, self.services, keep=3, bytes_max=1_000_000, lock_wait_ms=self.lock_wait_ms
        )

    def job(self, data: bytes, version: str = "1.0", **env: str) -> Job:
        artifact = self.folder / digest_of(data)
        artifact.write_bytes(data)
        release = replace(SHOP_1, version=version, sha256=digest_of(data), length=len(data))
        return Job(work=work(release, env), release=release, artifact=artifact, called_off=threading.Event())

    def current(self) -> str | None:
        link = self.home / "current"
        return link.readlink().name if link.is_symlink() else None

    def ask(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
            return str(answer.read().decode())

    def update(self, job: Job) -> None:
        self.installer.install(job)
        self.installer.verify(job)
        self.installer.commit(job)


def work(release: ReleaseInfo, env: dict[str, str]) -> Work:
    return work_of(command(env=env), Digest("0" * 64), (release,))
