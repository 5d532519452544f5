"""Judge a command: one ordered pure function, `admit`.

The rules this module keeps:

1. The order of the checks is part of the protocol (evidence/security.md, 3.1): each one may rely on those
   before it.
2. It changes nothing. What a command changes is said by its outcome and done by `agent.core.machine`.
3. It is total: whatever the bytes, it returns an `Outcome`.
4. A refusal names the command's digest: that of the signed payload, or of the raw bytes where there is none.
5. The generation of a key is the version of the fleet root that first listed it. It is looked up, never read
   from a command, so that a stolen key cannot raise it.
"""

from typing import Final

import msgspec

from agent.core.model import REPORTS_OPEN_MAX, Durable, Profile, Trust
from protocol.envelope import Verified, parse, verify
from protocol.errors import MalformedMessage, UntrustedMessage
from protocol.ids import Digest, digest_of, split_name
from protocol.messages import MESSAGE_BYTES_MAX, Command, Op, PayloadType, ReleaseRef
from protocol.reasons import REISSUED, Reason, RejectCode
from protocol.trust import ReleaseInfo
from protocol.units import DAY, Instant

OPS: Final = frozenset({Op.INSTALL, Op.WATCH, Op.HOLD, Op.GO, Op.CANCEL})
"""What this agent can do; any other operation is refused as unknown."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What all outcomes share: the digest by which the controller knows the command."""

    digest: Digest


class Refused(Outcome, frozen=True, kw_only=True):
    """The command is refused; `is_signed` says whether somebody we trust wrote it."""

    code: RejectCode
    detail: str = ""
    is_signed: bool = True


class Duplicate(Outcome, frozen=True, kw_only=True):
    """The command was taken note of before: report again, do nothing."""


class Known(Outcome, frozen=True, kw_only=True):
    """The command was refused for good, and reported so, before: do nothing."""


class NeedsReleases(Outcome, frozen=True, kw_only=True):
    """The release file at hand does not list a release: ask again with a fresh one."""


class Taken(Outcome, frozen=True, kw_only=True):
    """What outcomes of a good command share: the command, its operation and its key's generation."""

    command: Command
    generation: int


class Admitted(Taken, frozen=True, kw_only=True):
    """A command to be carried out: an install with releases as the release key signed them, or a watch with none."""

    releases: tuple[ReleaseInfo, ...]


class Inapplicable(Taken, frozen=True, kw_only=True):
    """A good install or watch command that does not fit this device: it ends at once as rejected."""

    reason: Reason
    detail: str


class Renewed(Taken, frozen=True, kw_only=True):
    """A newer command for the attempt that is in hand: its permission is renewed, nothing is restarted."""


class Repeated(Taken, frozen=True, kw_only=True):
    """A newer command for an attempt that has ended here: its end is reported under the new digest."""


class Controlled(Taken, frozen=True, kw_only=True):
    """A command that acts on a run: hold, go or cancel."""

    op: Op


AnyOutcome = Refused | Duplicate | Known | NeedsReleases | Admitted | Inapplicable | Renewed | Repeated | Controlled


class _Stop(Exception):
    """The checks end with this outcome."""

    def __init__(self, outcome: AnyOutcome) -> None:
        super().__init__()
        self.outcome = outcome


def _refuse(digest: Digest, code: RejectCode, detail: str) -> _Stop:
    return _Stop(Refused(digest=digest, code=code, detail=detail))


def _refuse_unsigned(digest: Digest, code: RejectCode, detail: str) -> _Stop:
    return _Stop(Refused(digest=digest, code=code, detail=detail, is_signed=False))


def admit(
    raw: bytes,
    *,
    durable: Durable,
    trust: Trust,
    profile: Profile,
    now: Instant | None,
    is_fresh: bool,
    is_refreshed: bool = False,
) -> AnyOutcome:
    """Judge the bytes of a command.

    Args:
        raw: the envelope as it came, untrusted.
        durable: what the device remembers; `key_generations` covers the keys of *trust*.
        trust: fleet root and release file.
        profile: what the device is.
        now: the trusted time, or None where this boot has heard none.
        is_fresh: whether *now* comes from a reply that is recent enough to install by.
        is_refreshed: whether the release file was fetched since this command came.
    """
    try:
        verified = _signed(raw, durable, trust, now)
        _for_this_device(verified, durable)
        generation = durable.key_generations.get(verified.keyid, 0)
        _in_sequence(verified, durable, generation, now)
        _in_time(verified, now, is_fresh=is_fresh)
        op = _supported(verified)
        _current_epoch(verified, durable)
        taken: tuple[Command, Digest, int] = (verified.value, verified.digest, generation)
        if op.is_control:
            return Controlled(command=taken[0], digest=taken[1], generation=taken[2], op=op)
        _about_something(taken, op)
        _not_busy(taken, durable)
        if op is Op.WATCH:
            return _installed(taken, durable)
        return _released(taken, durable, trust, profile, now, is_refreshed=is_refreshed)
    except _Stop as stop:
        return stop.outcome


def _signed(raw: bytes, durable: Durable, trust: Trust, now: Instant | None) -> Verified[Command]:
    """Check size, form, type and signature, in that order."""
    digest = digest_of(raw)
    if len(raw) > MESSAGE_BYTES_MAX:
        detail = f"{len(raw)} bytes: expected at most {MESSAGE_BYTES_MAX}"
        raise _refuse_unsigned(digest, RejectCode.TOO_LARGE, detail)
    try:
        envelope = parse(raw)
    except MalformedMessage as error:
        raise _refuse_unsigned(digest, RejectCode.MALFORMED, str(error)) from error
    digest = digest_of(envelope.payload)
    if envelope.payload_type != PayloadType.COMMAND:
        detail = f"payloadType {envelope.payload_type[:80]!r}: expected {PayloadType.COMMAND.value!r}"
        raise _refuse_unsigned(digest, RejectCode.WRONG_TYPE, detail)
    at_least = durable.time_floor if now is None else now
    if at_least >= trust.fleet.expires:
        detail = f"fleet root version {trust.fleet.version} has expired"
        raise _refuse_unsigned(digest, RejectCode.UNSIGNED, detail)
    try:
        verified: Verified[Command] = verify(raw, PayloadType.COMMAND, Command, trust.fleet.director)
    except UntrustedMessage as error:
        raise _refuse_unsigned(digest, RejectCode.UNSIGNED, str(error)) from error
    except MalformedMessage as error:
        raise _refuse(digest, RejectCode.MALFORMED, str(error)) from error
    return verified


def _for_this_device(verified: Verified[Command], durable: Durable) -> None:
    command = verified.value
    if (command.tenant, command.device) != split_name(durable.name):
        detail = f"meant for {command.tenant}:{command.device}, this is {durable.name}"
        raise _refuse(verified.digest, RejectCode.WRONG_DEVICE, detail)


def _in_sequence(verified: Verified[Command], durable: Durable, generation: int, now: Instant | None) -> None:
    """Order by (generation, seq); see evidence/security.md, 4.1."""
    digest, seq = verified.digest, verified.value.seq
    if any(noted.digest == digest for noted in durable.noted):
        raise _Stop(Duplicate(digest=digest))
    if any(note.digest == digest and note.code not in REISSUED for note in durable.refused):
        raise _Stop(Known(digest=digest))
    if (generation, seq) == (durable.generation, durable.seq):
        detail = f"seq {seq} was first used by {durable.digest}"
        raise _refuse(digest, RejectCode.EQUIVOCATION, detail)
    if (generation, seq) < (durable.generation, durable.seq):
        detail = f"seq {seq} of generation {generation}: the last was {durable.seq} of {durable.generation}"
        raise _refuse(digest, RejectCode.REPLAY, detail)
    if now is not None and seq > now + DAY:
        raise _refuse(digest, RejectCode.SEQ_AHEAD, f"seq {seq} is more than a day ahead of {now}")


def _in_time(verified: Verified[Command], now: Instant | None, *, is_fresh: bool) -> None:
    if now is None or not is_fresh:
        raise _refuse(verified.digest, RejectCode.NO_FRESH_TIME, "no hello was answered lately")
    if now >= verified.value.exp:
        detail = f"expired at {verified.value.exp}, the time is {now}"
        raise _refuse(verified.digest, RejectCode.EXPIRED, detail)


def _supported(verified: Verified[Command]) -> Op:
    op = verified.value.op
    if op not in OPS:
        raise _refuse(verified.digest, RejectCode.UNKNOWN_OP, f"operation {op[:80]!r} is not supported here")
    return Op(op)


def _current_epoch(verified: Verified[Command], durable: Durable) -> None:
    command = verified.value
    floor = durable.run(command.run).epoch
    if command.epoch < floor:
        detail = f"epoch {command.epoch} of run {command.run}: expected at least {floor}"
        raise _refuse(verified.digest, RejectCode.STALE_EPOCH, detail)


def _about_something(taken: tuple[Command, Digest, int], op: Op) -> None:
    """Let an install be about releases, and a watch about apps, and measure within a watch alone.

    What else an install needs is seen last.
    """
    command, digest, _ = taken
    if op is Op.INSTALL and command.apps:
        raise _refuse(digest, RejectCode.MALFORMED, "install: expected releases and no apps")
    if op is Op.WATCH and (command.releases or not command.apps or not command.watch_ms or command.attempt < 1):
        detail = "watch: expected apps, no releases, a span above 0 and an attempt from 1 on"
        raise _refuse(digest, RejectCode.MALFORMED, detail)
    if command.measure_ms and not command.watch_ms:
        raise _refuse(digest, RejectCode.MALFORMED, f"{op}: expected a watch in which to measure")
    if len(set(command.apps)) < len(command.apps):
        raise _refuse(digest, RejectCode.MALFORMED, "watch: expected each app once")


def _not_busy(taken: tuple[Command, Digest, int], durable: Durable) -> None:
    """Let one unit of work be in hand, and each attempt run once."""
    command, digest, generation = taken
    work = durable.work
    if work is not None and work.is_of(command.run, command.attempt):
        if (command.op, command.releases, command.apps) != (work.op, work.refs, work.apps):
            raise _refuse(digest, RejectCode.BUSY, "the attempt in hand is about something else")
        raise _Stop(Renewed(command=command, digest=digest, generation=generation))
    if any((ended.run, ended.attempt) == (command.run, command.attempt) for ended in durable.finals):
        raise _Stop(Repeated(command=command, digest=digest, generation=generation))
    ended = durable.run(command.run).ended
    if ended >= command.attempt > 0:
        detail = f"attempt {command.attempt} of run {command.run}: attempt {ended} has ended"
        raise _refuse(digest, RejectCode.REPLAY, detail)
    if work is not None:
        raise _refuse(digest, RejectCode.BUSY, f"attempt {work.attempt} of run {work.run} is in hand")
    if len(durable.filed) >= REPORTS_OPEN_MAX:
        raise _refuse(digest, RejectCode.BUSY, f"{len(durable.filed)} reports are not acknowledged")


def _installed(taken: tuple[Command, Digest, int], durable: Durable) -> AnyOutcome:
    """Check the apps of a watch against what is installed."""
    command, digest, generation = taken
    installed = {release.app for release in durable.installed}
    missing = next((app for app in command.apps if app not in installed), None)
    if missing is not None:
        reason, detail = Reason.UNSUPPORTED, f"{missing} is not installed, and cannot be watched"
        return Inapplicable(command=command, digest=digest, generation=generation, reason=reason, detail=detail)
    return Admitted(command=command, digest=digest, generation=generation, releases=())


def _released(
    taken: tuple[Command, Digest, int],
    durable: Durable,
    trust: Trust,
    profile: Profile,
    now: Instant | None,
    *,
    is_refreshed: bool,
) -> AnyOutcome:
    """Check every release against the release file, then against the device."""
    command, digest, generation = taken
    if not command.releases or command.attempt < 1:
        raise _refuse(digest, RejectCode.MALFORMED, "install: expected a release and an attempt from 1 on")
    releases = tuple(_listed(ref, digest, durable, trust, now, is_refreshed=is_refreshed) for ref in command.releases)
    if len({release.app for release in releases}) < len(releases):
        raise _refuse(digest, RejectCode.MALFORMED, "install: expected each app once")
    for release in releases:
        misfit = _misfit(release, profile)
        if misfit is not None:
            reason, detail = misfit
            return Inapplicable(command=command, digest=digest, generation=generation, reason=reason, detail=detail)
    return Admitted(command=command, digest=digest, generation=generation, releases=releases)


def _listed(
    ref: ReleaseRef,
    digest: Digest,
    durable: Durable,
    trust: Trust,
    now: Instant | None,
    *,
    is_refreshed: bool,
) -> ReleaseInfo:
    """Return what the release key signed about *ref*, or refuse."""
    file = trust.releases
    is_current = file is not None and file.version >= durable.release_version and now is not None and now < file.expires
    release = file.releases.get(ref.path) if file is not None and is_current else None
    if release is None:
        if not is_refreshed:
            raise _Stop(NeedsReleases(digest=digest))
        raise _refuse(digest, RejectCode.NOT_RELEASED, f"release {ref.path!r} is not in a current release file")
    if (ref.sha256, ref.length, ref.counter) != (release.sha256, release.length, release.counter):
        detail = f"release {ref.path!r}: hash, length or counter differ from the release file"
        raise _refuse(digest, RejectCode.DIRECTOR_RELEASE_MISMATCH, detail)
    floor = durable.floors.get(release.app, 0)
    if release.counter < floor:
        detail = f"release {ref.path!r} has counter {release.counter}: expected at least {floor}"
        raise _refuse(digest, RejectCode.RELEASE_ROLLBACK, detail)
    return release


def _misfit(release: ReleaseInfo, profile: Profile) -> tuple[Reason, str] | None:
    if release.hardware and profile.model not in release.hardware:
        return Reason.WRONG_HARDWARE, f"{release.app} is for {', '.join(release.hardware)}"
    if release.installer not in profile.installers:
        return Reason.UNSUPPORTED, f"{release.app} needs the installer {release.installer!r}"
    return None
