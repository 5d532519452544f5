"""Apps, offers and commands for the tests that run the agent for real."""

import io
import json
import tarfile
from typing import Any

from protocol.ids import digest_of
from protocol.messages import Command, ReleaseRef, StateReport
from protocol.units import HOUR, Instant
from tests.agent.hub import Hub, wall_ms

SERVICE = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"version": VERSION, "colour": os.environ.get("COLOUR", "")}).encode()
        self.send_response(200 if HEALTHY and not os.path.exists("ill") else 500)
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

TELLS = """
import itertools, json, os, pathlib, threading, time
def tell():
    folder = pathlib.Path(os.environ["TIDEGATE_OUTPUTS"])
    for count in itertools.count(1):
        (folder / ".new").write_text(json.dumps({"count": count}))
        (folder / ".new").replace(folder / "outputs.json")
        time.sleep(0.02)
threading.Thread(target=tell, daemon=True).start()
"""
"""Writes another number for as long as the service runs."""


def app(version: str, *, healthy: bool = True, timeout_ms: int = 10_000, says: str = "", tells: str = "") -> bytes:
    """Return the archive of a shop; its service begins with the code *tells*."""
    manifest = {
        "name": "shop",
        "version": version,
        "start": ["python3", "service.py"],
        "stop_ms": 3_000,
        "probe": {"http": "http://127.0.0.1:{port}/healthz", "timeout_ms": timeout_ms, "interval_ms": 50},
    }
    service = f"VERSION = {says or version!r}\nHEALTHY = {healthy}\n{tells}{SERVICE}"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, text in (("app.json", json.dumps(manifest)), ("service.py", service)):
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return data.getvalue()


def offer(hub: Hub, version: str, data: bytes, *, counter: int) -> ReleaseRef:
    """Sign a release and return how a command names it."""
    path = f"shop/{version}.tar.gz"
    custom = {"app": "shop", "version": version, "counter": counter, "floor": 1, "installer": "archive"}
    hub.files[path] = (data, custom)
    hub.releases_version += 1
    return ReleaseRef(path=path, sha256=digest_of(data), length=len(data), counter=counter)


def install(run: str, *refs: ReleaseRef, **changes: Any) -> Command:
    now = wall_ms()
    fields: dict[str, Any] = {
        "tenant": "acme",
        "device": "kiosk-17",
        "seq": now,
        "op": "install",
        "run": run,
        "attempt": 1,
        "epoch": 1,
        "iat": now,
        "exp": Instant(now + HOUR),
        "not_after": Instant(now + HOUR),
        "releases": refs,
    }
    return Command(**{**fields, **changes})


def watch(run: str, *apps: str, **changes: Any) -> Command:
    """Return a command to watch apps that are there, for an hour."""
    return install(run, **{"op": "watch", "apps": apps, "watch_ms": HOUR, **changes})


def ends(hub: Hub, run: str) -> StateReport:
    """Wait for the end of a run's attempt."""

    def found() -> StateReport | None:
        for report in hub.reports:
            if isinstance(report, StateReport) and report.run == run and report.state.is_terminal:
                return report
        return None

    report: StateReport = hub.until(found)
    return report
