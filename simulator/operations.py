"""What an operator does, as the simulator and the demo do it: over the API, with the command line's own client."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from controller.app.views import DeviceView, DeviceWhyView, EventView, RunView, TargetView
from controller.cli import wire
from controller.cli.client import ANY, Client
from controller.cli.commands import time_after
from controller.cli.contexts import Context
from controller.signing.keyfile import read_ed25519
from controller.signing.releases import NewRelease, add_release
from protocol.ids import AppName
from protocol.units import DAY, Instant
from simulator.package import Package

LIST_MAX: Final = 100_000
CLAIM_SPAN: Final = "1h"
RELEASE_SPAN: Final = 30 * DAY
INSTALLER: Final = "archive"


class Operator:
    """An operator of one controller. Every method raises `controller.cli.failures.CliError` when it is refused."""

    def __init__(self, context: Context) -> None:
        """Take address, token and CA."""
        self.context = context
        self._client = Client(context)

    def close(self) -> None:
        """End all connections."""
        self._client.close()

    # --- devices --------------------------------------------------------------------------------------------

    def new_claim(self, *, uses: int) -> str:
        """Return a claim token that so many devices can enrol with."""
        body = {"uses": uses, "expires_at": time_after(CLAIM_SPAN)}
        secret: str = self._client.send("POST", "/v1/claims", body)["secret"]
        return secret

    def devices(self, **filters: str | bool) -> Iterator[DeviceView]:
        """Yield the devices that match every filter of ``GET /v1/devices``."""
        for item in self._client.items("/v1/devices", filters, limit=LIST_MAX):
            yield wire.view(item, DeviceView)

    def label(self, device: str, **labels: str) -> None:
        """Replace a device's labels."""
        self._client.send("PUT", f"/v1/devices/{device}/labels", {"labels": labels}, match=ANY)

    def hold(self, device: str, *, reason: str) -> None:
        """Give a device no work until the hold is lifted."""
        self._client.send("POST", f"/v1/devices/{device}/hold", {"reason": reason})

    def unhold(self, device: str, *, reason: str) -> None:
        """Let a device get work again."""
        self._client.send("POST", f"/v1/devices/{device}/unhold", {"reason": reason})

    def why(self, device: str) -> DeviceWhyView:
        """Return why a device is not updated, by each run that matters."""
        return wire.view(self._client.get(f"/v1/devices/{device}/why"), DeviceWhyView)

    # --- releases -------------------------------------------------------------------------------------------

    def upload(self, package: Package, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Upload an archive; it is good for nothing until it is published."""
        path = f"/v1/artifacts/{package.sha256}"
        self._client.upload(path, package.path, length=package.length, on_bytes=on_bytes)

    def publish(self, document: bytes) -> None:
        """Publish a signed release file."""
        self._client.put_bytes("/v1/releases/targets.json", document, media_type="application/json")

    # --- definitions and runs -------------------------------------------------------------------------------

    def apply(self, pipeline: Path) -> None:
        """Create or change the pipeline of a file that is named after it."""
        path = f"/v1/pipelines/{pipeline.stem}"
        match = self._client.find(path).match
        self._client.put_bytes(path, pipeline.read_bytes(), media_type="application/yaml", match=match)

    def create_job(self, name: str, *, pipeline: str, app: str, version: str, priority: int = 0) -> None:
        """Bind an operation to a pipeline."""
        operation = {"app": app, "version": version}
        body = {"name": name, "pipeline": pipeline, "operation": operation, "priority": priority}
        self._client.send("POST", "/v1/jobs", body)

    def hook(self, job: str) -> str:
        """Make the hook of a job anew, and return its secret."""
        secret: str = self._client.send("POST", f"/v1/jobs/{job}/hook")["secret"]
        return secret

    def start(self, job: str, *, version: str) -> RunView:
        """Start a run."""
        return self._run(self._client.send("POST", "/v1/runs", {"job": job, "version": version}))

    def run(self, run: str) -> RunView:
        """Return a run as it stands."""
        return self._run(self._client.get(f"/v1/runs/{run}"))

    def act(self, run: str, verb: str, **body: str | bool) -> RunView:
        """Pause, resume, terminate or promote a run."""
        return self._run(self._client.send("POST", f"/v1/runs/{run}/{verb}", body))

    def roll_back(self, run: str, *, reason: str) -> RunView:
        """Have a run that takes back what an ended run has reached, and return it."""
        return self.run(self.act(run, "rollback", reason=reason).rolled_back_by)

    def targets(self, run: str, **filters: str) -> Sequence[TargetView]:
        """Return the devices of a run."""
        items = self._client.items(f"/v1/runs/{run}/targets", filters, limit=LIST_MAX)
        return [wire.view(item, TargetView) for item in items]

    def events(self, run: str) -> Sequence[EventView]:
        """Return the timeline of a run."""
        found: list[EventView] = []
        while True:
            after = found[-1].id if found else 0
            page = self._client.get(f"/v1/runs/{run}/events", {"after": after, "limit": 200})
            if not page:
                return found
            found += [wire.view(item, EventView) for item in page]

    def security_events(self) -> list[dict[str, Any]]:
        """Return what was refused."""
        events: list[dict[str, Any]] = self._client.get("/v1/security-events")
        return events

    @staticmethod
    def _run(data: Any) -> RunView:
        return wire.view(data, RunView)


def sign(package: Package, *, app: str, offline: Path, at: Instant, floor: int | None = None) -> bytes:
    """Return the release file with *package* added, signed with the keys of the *offline* folder, and keep it there.

    Args:
        package: what is released.
        app: of which app.
        offline: where keys, root and release file are.
        at: when it is signed.
        floor: the lowest counter to which a device that has it may go back; None: that of the release before it.

    Raises:
        controller.app.errors.ControllerError: when the keys or the file cannot be used, or the version exists.
    """
    releases = offline / "releases.json"
    release = NewRelease(
        app=AppName(app),
        version=package.version,
        filename=package.path.name,
        sha256=package.sha256,
        length=package.length,
        installer=INSTALLER,
        floor=floor,
    )
    document = add_release(
        releases.read_bytes(),
        release,
        release_root=(offline / "release-root.json").read_bytes(),
        signers=[read_ed25519(offline / "release.pem")],
        expires=Instant(at + RELEASE_SPAN),
    )
    releases.write_bytes(document)
    return document
