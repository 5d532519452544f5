"""Taking messages in: a batch is verified, folded in one transaction, and only then acknowledged.

A message that is malformed or signed by the wrong key is counted, logged with its device and reason, and harms no
other message of its batch.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import structlog

from controller.app import hello, presence, reports, silence
from controller.app.consequences import Answer, Consequences
from controller.app.controller import Controller
from controller.app.errors import ControllerError
from controller.app.ports import Disposition, Priority, Uplinked
from controller.app.records import Sender
from controller.app.repositories import Transaction
from protocol.codec import decode, encode
from protocol.envelope import KeyRing, Verified, seal, verify
from protocol.errors import MalformedMessage, ProtocolError, UntrustedMessage
from protocol.ids import Name
from protocol.lifecycle import Left
from protocol.messages import (
    Ack,
    Gone,
    Hello,
    HelloReply,
    InstalledRelease,
    Mode,
    PayloadType,
    Report,
    StateReport,
    Tick,
)
from protocol.topics import DownlinkKind, UplinkKind

log = structlog.get_logger()

Signed = Verified[Hello] | Verified[Report]
Parsed = Signed | Gone | Tick
Keys = Callable[[bytes], KeyRing]

Stale = frozenset[tuple[Name, str]]
"""The wills of a batch that changed nothing, by device and connection."""

STALE_MAX: Final = 4_096
"""Stale wills that are remembered, some half a megabyte; far more than a broker offers again at once."""

_SIGNED: Final = {UplinkKind.HELLO: (PayloadType.HELLO, Hello), UplinkKind.REPORT: (PayloadType.REPORT, Report)}


class Folded(NamedTuple):
    """What a batch leads to."""

    answers: list[Answer]
    stale: Stale


class Inbox:
    """Where transports deliver messages; see `controller.app.ports.Inbox`.

    A transport is made with its inbox and the controller with its transport, so the inbox is opened last.
    """

    def __init__(self) -> None:
        self._opened: Controller | None = None
        self._stale: dict[tuple[Name, str], None] = {}
        """Wills that came before any hello of their connection, the newest last: that may still be on its way."""

    def open(self, controller: Controller) -> None:
        """Take in messages for *controller* from now on."""
        self._opened = controller

    @property
    def _controller(self) -> Controller:
        assert self._opened is not None, "the inbox is opened before its transport runs"
        return self._opened

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        """Store a batch durably; see the port."""
        controller = self._controller
        controller.meters.batch.observe(len(batch))
        names = {message.name for message in batch}
        senders = await controller.read(lambda tx: tx.devices.senders(names))
        parsed = await controller.compute.map(
            lambda message: _parse(message, senders.get(message.name), controller.keys), batch
        )
        stored = [
            (senders[message.name], content)
            for message, content in zip(batch, parsed, strict=True)
            if not isinstance(content, ProtocolError)
        ]
        try:
            stale = await self._store(stored)
        except ControllerError:
            raise
        except Exception:
            log.exception("batch_failed", messages=len(batch), consequence="each is tried alone")
            parsed, stale = await self._store_one_by_one(batch, parsed, senders)
        return [self._disposition(message, content, stale) for message, content in zip(batch, parsed, strict=True)]

    async def may_connect(self, name: Name) -> bool:
        """Say whether a device is enrolled and not blocked."""
        found = await self._controller.read(lambda tx: tx.devices.senders([name]))
        return name in found and not found[name].is_blocked

    async def disconnected(self, name: Name, session: int) -> None:
        """Take note that a device's session ended; a newer session of the device is left alone."""
        controller = self._controller
        if controller.transport.session(name) in {0, session}:
            await controller.write(
                lambda tx, after: presence.went(controller, tx, after, name), priority=Priority.HOUSEKEEPING
            )

    async def lost_sight(self, partitions: Collection[int]) -> None:
        """Take note that nobody knows any more which devices of *partitions* are connected; see the port."""
        await presence.lost_sight(self._controller, partitions)

    async def _store(self, stored: Sequence[tuple[Sender, Parsed]]) -> Stale:
        controller = self._controller
        for sender, content in stored:
            if isinstance(content, Tick):
                controller.progress.note(sender.name, content, at=controller.clock.now())
        durable = [(sender, content) for sender, content in stored if not isinstance(content, Tick)]
        if not durable:
            return Stale()
        overtaken = [(sender, Gone(connection=will)) for sender, will in self._overtaken(durable)]
        (answers, stale), after = await controller.commit(
            lambda tx, after: _fold(controller, tx, after, [*durable, *overtaken]), priority=Priority.INGEST
        )
        self._remember(stale)
        reserved = controller.dispatcher.reserve(after)
        try:
            await self._answer(answers)
        finally:
            controller.dispatcher.release(reserved)
        controller.dispatcher.kick()
        controller.clock.wake()
        return stale

    def _overtaken(self, stored: Sequence[tuple[Sender, Parsed]]) -> Iterator[tuple[Sender, str]]:
        """Yield whose hello comes after the will of its own connection, and that connection: it is over already."""
        for sender, content in stored if self._stale else ():
            if isinstance(content, Verified) and isinstance(content.value, Hello):
                connection = content.value.connection
                if (sender.name, connection) in self._stale:
                    yield sender, connection

    def _remember(self, stale: Stale) -> None:
        """Remember stale wills, as some brokers offer the new before the old."""
        self._stale |= dict.fromkeys(stale)
        while len(self._stale) > STALE_MAX:
            del self._stale[next(iter(self._stale))]

    async def _store_one_by_one(
        self, batch: Sequence[Uplinked], parsed: Sequence[Parsed | ProtocolError], senders: Mapping[Name, Sender]
    ) -> tuple[list[Parsed | ProtocolError], Stale]:
        """Store what can be stored of a batch in which a message met a fault of ours.

        That message is refused, so that it does not block all others for ever; its device keeps the report, since
        only a signed acknowledgement drops it.
        """
        outcomes, stale = list(parsed), Stale()
        for index, (message, content) in enumerate(zip(batch, parsed, strict=True)):
            if isinstance(content, ProtocolError):
                continue
            try:
                stale |= await self._store([(senders[message.name], content)])
            except ControllerError:
                raise
            except Exception as error:
                log.exception("message_failed", device=message.name, kind=message.kind.value)
                outcomes[index] = MalformedMessage(f"met a fault of ours: {type(error).__name__}")
        return outcomes, stale

    async def _answer(self, answers: Sequence[Answer]) -> None:
        """Send replies before commands: a device installs nothing before its hello was answered.

        A permit passes the fence as commands do: one that was overtaken by a pause lets the device begin nothing.
        """
        controller = self._controller
        sealed = await controller.compute.map(lambda answer: _sealed(controller, answer.message), answers)
        for answer, envelope in zip(answers, sealed, strict=True):
            held = _held(controller, answer)
            raw = envelope if held is None else _sealed(controller, held)
            controller.transport.write(answer.name, DownlinkKind.ACK, raw)

    def _disposition(self, message: Uplinked, content: Parsed | ProtocolError, stale: Stale) -> Disposition:
        if not isinstance(content, ProtocolError):
            is_stale = isinstance(content, Gone) and (message.name, content.connection) in stale
            return Disposition.STALE if is_stale else Disposition.STORED
        is_malformed = isinstance(content, MalformedMessage)
        disposition = Disposition.MALFORMED if is_malformed else Disposition.UNTRUSTED
        self._controller.meters.refused.labels(reason=disposition.value).inc()
        reason = str(content)[:300]
        self._controller.complain("message_refused", device=message.name, kind=message.kind.value, reason=reason)
        return disposition


def _parse(message: Uplinked, sender: Sender | None, keys: Keys) -> Parsed | ProtocolError:
    if sender is None or sender.is_blocked:
        return UntrustedMessage("the device is not enrolled or is blocked")
    try:
        match message.kind:
            case UplinkKind.TICK:
                return decode(message.payload, Tick)
            case UplinkKind.GONE:
                return decode(message.payload, Gone)
            case UplinkKind.HELLO | UplinkKind.REPORT:
                return _verified(message, sender, keys)
    except ProtocolError as error:
        return error


def _verified(message: Uplinked, sender: Sender, keys: Keys) -> Signed:
    payload_type, kind = _SIGNED[message.kind]
    signed: Signed = verify(message.payload, payload_type, kind, keys(sender.signing_key))
    if signed.value.device != sender.name:
        raise UntrustedMessage(f"signed for {signed.value.device!r} and sent as {sender.name!r}")
    return signed


def _fold(
    controller: Controller,
    tx: Transaction,
    after: Consequences,
    stored: Sequence[tuple[Sender, Parsed]],
) -> Folded:
    """Fold a batch in the order of arrival within its kind: reports, then who says hello, then who went.

    A hello that follows a report on the wire finds it folded; one that precedes it says nothing that contradicts it.
    A will names its connection: it finds the hello that it belongs to stored, and an older one of the same batch is
    stale.
    """
    signed_reports = [(d, c) for d, c in stored if isinstance(c, Verified) and not isinstance(c.value, Hello)]
    acks = reports.fold(controller, tx, after, signed_reports)
    replies = hello.greet(controller, tx, after, _hellos(stored))
    wills = [(sender, content) for sender, content in stored if isinstance(content, Gone)]
    were_here = presence.here(controller, tx, {d.name for d, _ in wills})
    is_current = [presence.gone(controller, tx, d.id, will) for d, will in wills]
    went = {d.id for (d, _), is_so in zip(wills, is_current, strict=True) if is_so}
    silence.went(controller, tx, after, went & were_here)
    stale = [(d.name, will.connection) for (d, will), is_so in zip(wills, is_current, strict=True) if not is_so]
    return Folded([*replies, *acks], Stale(stale))


def _hellos(stored: Sequence[tuple[Sender, Parsed]]) -> list[tuple[Sender, Hello]]:
    """Return the hellos of a batch; where a device reports an end after its hello, it lists what it has since then."""
    listed: dict[Name, tuple[InstalledRelease, ...]] = {}
    hellos: list[tuple[Sender, Hello]] = []
    for sender, content in reversed(stored):
        match content:
            case Verified(value=Hello() as said):
                installed = listed.get(sender.name, said.installed)
                hellos.append((sender, msgspec.structs.replace(said, installed=installed)))
            case Verified(value=StateReport(left=Left()) as end):
                listed.setdefault(sender.name, end.installed)
            case _:
                pass
    return hellos[::-1]


def _held(controller: Controller, answer: Answer) -> HelloReply | None:
    """Return the reply with its permit taken back, where the run was fenced off since; what follows says more."""
    message = answer.message
    if not isinstance(message, HelloReply) or message.work is None or message.work.mode is not Mode.GO:
        return None
    if not controller.dispatcher.is_fenced(answer.run_id, message.work.epoch):
        return None
    permit = msgspec.structs.replace(message.work, mode=Mode.HOLD)
    return msgspec.structs.replace(message, work=permit)


def _sealed(controller: Controller, answer: HelloReply | Ack) -> bytes:
    is_reply = isinstance(answer, HelloReply)
    payload_type = PayloadType.HELLO_REPLY if is_reply else PayloadType.ACK
    return seal(encode(answer), payload_type, controller.time_key)
