"""``tidegate release``: sign a release on this machine, then hand file and signature to the controller."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from controller.cli.addresses import quoted
from controller.cli.commands import DryRun, Reason, span_of
from controller.cli.commands.local import PASSWORD_VARIABLE
from controller.cli.failures import CliError, ExitCode
from controller.cli.output import Column, Shape
from controller.cli.session import Session, command

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from controller.signing.releases import NewRelease

group = typer.Typer()

FLOOR: Final = (
    "Devices that have it never go back below this counter. Default: the newest one's counter, "
    "so that they go back by one release at most, and not at all where they skip one; 0: back to any."
)

SHAPE = Shape(
    "path",
    (
        Column("APP", "app"),
        Column("VERSION", "version"),
        Column("COUNTER", "counter"),
        Column("FLOOR", "floor"),
        Column("INSTALLER", "installer"),
        Column("HARDWARE", lambda release: release["hardware"] or "any"),
        Column("BYTES", "length"),
        Column("PUBLISHED", "published_at"),
        Column("STATE", "state"),
        Column("CHANNELS", lambda release: ", ".join(release["channels"])),
        Column("PATH", "path", is_wide=True),
        Column("SHA-256", "sha256", is_wide=True),
        Column("WHY", "state_reason", is_wide=True),
        Column("BY", "state_by", is_wide=True),
        Column("SINCE", "state_at", is_wide=True),
    ),
)


channel = typer.Typer(help="Put releases into channels, and take them out.")
group.add_typer(channel, name="channel")
CHANNEL = Shape(
    "version",
    (
        Column("APP", "app"),
        Column("CHANNEL", "channel"),
        Column("VERSION", "version"),
        Column("SINCE", "at"),
        Column("STARTED", lambda entry: ", ".join(entry["runs"])),
    ),
)
PATH = Shape(
    "version",
    (
        Column("APP", "app"),
        Column("VERSION", "version"),
        Column("FROM", lambda path: path["allowed"] or "any"),
        Column("NOT FROM", "forbidden"),
        Column("THROUGH", lambda path: ", ".join(path["through"])),
        Column("REASON", "reason"),
        Column("BY", "by"),
        Column("SINCE", "at"),
    ),
)
App = Annotated[str, typer.Argument(help="The app.")]
Version = Annotated[str, typer.Argument(help="The version of the release.")]
InChannel = Annotated[str, typer.Argument(metavar="CHANNEL", help="The channel, such as stable.")]


class Content(NamedTuple):
    """A file that is to be released."""

    path: Path
    sha256: str
    length: int


@command(group, "list")
def list_releases(
    session: Session, app: Annotated[str | None, typer.Option("--app", help="Only of this app.")] = None
) -> None:
    """List releases."""
    session.printer.items(session.client.get("/v1/releases", {"app": app}), SHAPE)


@command(channel, "add")
def add_to_channel(session: Session, *, app: App, version: Version, name: InChannel) -> None:
    """Put a release into a channel; jobs that wait for its releases start."""
    path = f"/v1/releases/{quoted(app)}/{quoted(version)}/channels"
    session.printer.item(session.client.send("POST", path, {"channel": name}), CHANNEL)


@command(channel, "remove")
def remove_from_channel(session: Session, *, app: App, version: Version, name: InChannel) -> None:
    """Take a release out of a channel; runs that it started go on."""
    session.client.send("DELETE", f"/v1/releases/{quoted(app)}/{quoted(version)}/channels/{quoted(name)}")


@command(group, "deprecate")
def deprecate_release(session: Session, *, app: App, version: Version, reason: Reason) -> None:
    """Have no run of a release begin, but where somebody says --allow-deprecated; runs that began go on."""
    _change(session, app, version, "deprecate", {"reason": reason})


@command(group, "withdraw")
def withdraw_release(session: Session, *, app: App, version: Version, reason: Reason) -> None:
    """Block a release everywhere and for good: runs that install it are held at once, and can only be terminated."""
    body = {"reason": reason}
    session.confirm(f"release {app} {version} is blocked for good, and every run that installs it is held")
    _change(session, app, version, "withdraw", body)


def _change(session: Session, app: str, version: str, verb: str, body: dict[str, Any]) -> None:
    path = f"/v1/releases/{quoted(app)}/{quoted(version)}/{verb}"
    session.printer.item(session.client.send("POST", path, body), SHAPE)


@command(group, "path")
def order_path(
    session: Session,
    *,
    app: App,
    version: Version,
    allowed: Annotated[str, typer.Option("--from", help="The only versions it may be installed over: '>=1.2'.")] = "",
    forbidden: Annotated[str, typer.Option("--not", help="Versions it may not be installed over: '1.3.*'.")] = "",
    through: Annotated[
        list[str] | None, typer.Option("--through", help="A version to have, or have passed, before; repeatable.")
    ] = None,
    reason: Reason = "",
    show: Annotated[bool, typer.Option("--show", help="Only say what holds now.")] = False,
) -> None:
    """Say from which versions a release may be installed; with no versions, from all again."""
    path = f"/v1/releases/{quoted(app)}/{quoted(version)}/path"
    if show:
        session.printer.item(session.client.get(path), PATH)
        return
    if not reason.strip():
        raise CliError("expected --reason: devices that wait for it say so", code=ExitCode.USAGE)
    body = {"allowed": allowed, "forbidden": forbidden, "through": through or [], "reason": reason}
    session.printer.item(session.client.send("PUT", path, body), PATH)


@command(group, "publish")
def publish_release(
    session: Session,
    *,
    file: Annotated[Path, typer.Argument(help="The artifact.", exists=True, dir_okay=False)],
    app: Annotated[str, typer.Option("--app", help="The app it is a release of.")],
    version: Annotated[str, typer.Option("--version", help="Its version.")],
    release_key: Annotated[Path, typer.Option("--release-key", help="The release key, in PEM.", dir_okay=False)],
    counter: Annotated[int | None, typer.Option("--counter", min=1, help="Default: the newest one's plus 1.")] = None,
    floor: Annotated[int | None, typer.Option("--floor", min=0, help=FLOOR)] = None,
    hardware: Annotated[list[str] | None, typer.Option("--hardware", help="Only for this model; repeatable.")] = None,
    installer: Annotated[str, typer.Option("--installer", help="What installs it.")] = "archive",
    release_root: Annotated[Path | None, typer.Option("--release-root", help="Your own copy of the root.")] = None,
    expires: Annotated[str, typer.Option("--expires", help="How long the release file is valid.")] = "90d",
    dry_run: DryRun = False,
) -> None:
    """Sign a release on this machine, upload the artifact and publish. The key never leaves this machine."""
    from controller.signing.releases import NewRelease
    from protocol.ids import AppName, Digest

    key = _key(session, release_key)
    content = _measured(session, file)
    release = NewRelease(
        app=AppName(app),
        version=version,
        filename=file.name,
        sha256=Digest(content.sha256),
        length=content.length,
        installer=installer,
        hardware=tuple(hardware or ()),
        counter=counter,
        floor=floor,
    )
    root = _root(session, release_root)
    document = _signed(_current(session), release, root, key, span_of(expires))
    if dry_run:
        session.printer.say(f"{release.path} would be published: the signature fits")
        return
    _upload(session, content)
    published = session.client.put_bytes("/v1/releases/targets.json", document, media_type="application/json")
    session.printer.items(published, SHAPE)


def _current(session: Session) -> bytes | None:
    """Return the release file as it is published, None before the first release."""
    try:
        return session.client.get_bytes("/v1/releases/targets.json")
    except CliError as error:
        if error.status == 404:  # noqa: PLR2004 - not found
            return None
        raise


def _signed(current: bytes | None, release: "NewRelease", root: bytes, key: "Ed25519PrivateKey", span_ms: int) -> bytes:
    from controller.app.errors import Conflict, InvalidRequest
    from controller.clock import SystemClock
    from controller.signing.releases import add_release, new_release_file
    from protocol.units import later

    try:
        expires = later(SystemClock().now(), span_ms)
        known = new_release_file(root, [key], expires=expires) if current is None else current
        return add_release(known, release, release_root=root, signers=[key], expires=expires)
    except Conflict as error:
        raise CliError(str(error), code=ExitCode.CONFLICT) from error
    except InvalidRequest as error:
        raise CliError(str(error)) from error


def _root(session: Session, path: Path | None) -> bytes:
    if path is None:
        return session.client.get_bytes("/v1/releases/root.json")
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error


def _key(session: Session, path: Path) -> "Ed25519PrivateKey":
    from controller.app.errors import ControllerError
    from controller.signing.keyfile import read_ed25519

    password = os.environ.get(PASSWORD_VARIABLE, "").encode() or None
    try:
        return read_ed25519(path, password=password)
    except ControllerError as error:
        if password is not None or not session.may_ask:
            raise CliError(str(error)) from error
    try:
        answer = typer.prompt(f"Password of {path}", hide_input=True, err=True)
        return read_ed25519(path, password=str(answer).encode())
    except ControllerError as error:
        raise CliError(str(error)) from error


def _measured(session: Session, file: Path) -> Content:
    digest, length = hashlib.sha256(), 0
    try:
        with file.open("rb") as opened, _progress(session, "hashing", file.stat().st_size) as advance:
            while chunk := opened.read(1024 * 1024):
                digest.update(chunk)
                length += len(chunk)
                advance(len(chunk))
    except OSError as error:
        raise CliError(f"{file}: {error.strerror}") from error
    return Content(file, digest.hexdigest(), length)


def _upload(session: Session, content: Content) -> None:
    path = f"/v1/artifacts/{quoted(content.sha256)}"
    if session.client.exists(path):
        session.printer.say("the artifact is stored already")
        return
    with _progress(session, "uploading", content.length) as advance:
        session.client.upload(path, content.path, length=content.length, on_bytes=advance)


@contextmanager
def _progress(session: Session, what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar where a person watches."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), DownloadColumn()]
    columns += [TransferSpeedColumn(), TimeRemainingColumn()]
    console = session.printer.messages
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
