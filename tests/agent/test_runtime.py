"""The runtime and its outbox: journalled before done, the same bytes again, and a window over what is sent."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.effects import Download
from agent.core.events import AnswerReceived, Connected, Disconnected, Progressed, Started, Woke
from agent.core.model import Durable
from agent.errors import StorageFull
from agent.journal import MemoryJournal, Row
from agent.outbox import RESEND_MIN_MS, WINDOW, Outbox
from agent.runtime import Publish, Runtime, sealed
from protocol.codec import decode
from protocol.envelope import verify
from protocol.ids import RunId
from protocol.keys import ring_of
from protocol.messages import (
    MESSAGE_BYTES_MAX,
    Hello,
    InstalledRelease,
    PayloadType,
    Report,
    Tick,
)
from protocol.topics import UplinkKind
from tests.agent.world import (
    BOOT,
    DEVICE,
    INCARNATION,
    NAME,
    NONCE,
    NONCE_2,
    PROFILE,
    TRUST,
    ack,
    command,
    received,
    reply,
)


class FullJournal(MemoryJournal):
    """A journal whose disk can be full."""

    is_full = False

    def commit(self, durable: Durable, *, add: Sequence[Row] = (), drop: Sequence[int] = ()) -> None:
        if self.is_full:
            raise StorageFull("no space is left")
        super().commit(durable, add=add, drop=drop)


def new_runtime(journal: MemoryJournal) -> Runtime:
    return Runtime(journal=journal, signer=DEVICE, trust=TRUST, profile=PROFILE, name=NAME, incarnation=INCARNATION)


def started(journal: MemoryJournal) -> Runtime:
    runtime = new_runtime(journal)
    for event in (
        Started(at=500, boot=BOOT),
        Connected(at=1_000, nonce=NONCE),
        AnswerReceived(at=1_000, raw=reply()),
    ):
        runtime.feed(event)
    return runtime


def read(row: Row) -> Any:
    return verify(row.raw, PayloadType.REPORT, Report, ring_of(DEVICE.public)).value


def test_a_hello_is_signed_and_published_once() -> None:
    runtime = new_runtime(MemoryJournal())
    runtime.feed(Started(at=500, boot=BOOT))
    (publish,) = runtime.feed(Connected(at=1_000, nonce=NONCE))
    assert isinstance(publish, Publish)
    assert (publish.kind, publish.qos) == (UplinkKind.HELLO, 1)
    hello = verify(publish.payload, PayloadType.HELLO, Hello, ring_of(DEVICE.public)).value
    assert (hello.device, hello.nonce, hello.hello_seq) == (NAME, NONCE, 1)


def test_reports_wait_in_the_outbox_until_the_controller_settles_them() -> None:
    journal = MemoryJournal()
    runtime = started(journal)
    effects = runtime.feed(received(command()))
    assert [type(effect) for effect in effects] == [Download]
    rows = runtime.take(2_000)
    assert [(read(row).report_seq, read(row).state) for row in rows] == [(1, "accepted"), (2, "downloading")]
    assert runtime.take(2_000) == []
    for row in rows:
        runtime.released(row.report_seq, at=2_100)
    assert runtime.take(2_100 + RESEND_MIN_MS - 1) == []
    assert runtime.take(2_100 + RESEND_MIN_MS * 2) == rows, "the same bytes again"
    runtime.feed(AnswerReceived(at=90_000, raw=ack(1)))
    assert (runtime.outbox_count, len(journal.load()[1])) == (1, 1)
    runtime.feed(AnswerReceived(at=90_000, raw=ack(1, 2)))
    assert (runtime.outbox_count, journal.load()[1]) == (0, [])


def test_a_restart_sends_the_same_bytes_again() -> None:
    journal = MemoryJournal()
    first = started(journal)
    first.feed(received(command()))
    rows = first.take(2_000)
    again = new_runtime(journal)
    effects = again.feed(Started(at=5_000, boot=BOOT))
    assert [type(effect) for effect in effects] == [Download]
    assert again.take(5_000) == [], "nothing is sent without a connection"
    again.feed(Connected(at=6_000, nonce=NONCE_2))
    assert again.take(6_000) == rows


def test_a_full_disk_changes_nothing_and_the_event_can_be_fed_again() -> None:
    journal = FullJournal()
    runtime = started(journal)
    before = runtime.state
    journal.is_full = True
    for _ in range(3):
        with pytest.raises(StorageFull):
            runtime.feed(received(command()))
    assert runtime.state == before
    assert runtime.take(2_000) == []
    journal.is_full = False
    assert [type(effect) for effect in runtime.feed(received(command()))] == [Download]
    assert len(runtime.take(2_000)) == 2


def test_what_changes_nothing_durable_writes_nothing() -> None:
    journal = MemoryJournal()
    runtime = started(journal)
    count = journal.commit_count
    runtime.feed(Woke(at=2_000, nonce=NONCE_2))
    runtime.feed(Disconnected(at=2_000))
    assert journal.commit_count == count
    assert runtime.next_deadline() == 1_000 + 900_000 + 1


def test_progress_goes_out_unsigned_and_unjournalled() -> None:
    journal = MemoryJournal()
    runtime = started(journal)
    runtime.feed(received(command()))
    count = journal.commit_count
    (tick,) = runtime.feed(Progressed(at=3_000, run=RunId("run-1"), attempt=1, done=3, total=8))
    assert isinstance(tick, Publish)
    assert (tick.kind, tick.qos) == (UplinkKind.TICK, 0)
    assert decode(tick.payload, Tick).progress[0].done == 3
    assert journal.commit_count == count


def test_a_message_that_would_be_too_long_names_fewer_apps() -> None:
    installed = tuple(
        InstalledRelease(app=f"app-{n}", version="1" * 128, path="p" * 255, sha256="0" * 64) for n in range(256)
    )
    hello = Hello(device=NAME, nonce=NONCE, incarnation=INCARNATION, hello_seq=1, installed=installed, agent="1")
    raw = sealed(hello, PayloadType.HELLO, DEVICE)
    assert len(raw) <= MESSAGE_BYTES_MAX
    told = verify(raw, PayloadType.HELLO, Hello, ring_of(DEVICE.public)).value.installed
    assert told
    assert told == installed[: len(told)]


# --- the outbox ---


def rows(count: int) -> list[Row]:
    return [Row(n, b"report %d" % n) for n in range(1, count + 1)]


def test_no_more_than_the_window_is_in_flight() -> None:
    outbox = Outbox(rows(100))
    outbox.connected()
    assert outbox.take(0) == rows(WINDOW)
    assert outbox.take(0) == []
    outbox.released(3, at=0)
    assert outbox.take(0) == [rows(100)[WINDOW]]
    assert outbox.next_due() is None, "no clock opens a full window"
    outbox.drop(1)
    assert outbox.next_due() == 0
    assert outbox.take(0) == [rows(100)[WINDOW + 1]]


def test_the_wait_doubles_to_its_limit_and_an_unknown_answer_is_ignored() -> None:
    outbox = Outbox(rows(1))
    outbox.connected()
    outbox.released(9, at=0)
    outbox.released(1, at=0)
    at, waits = 0, []
    for _ in range(8):
        assert len(outbox.take(at)) == 1
        outbox.released(1, at=at)
        due = outbox.next_due()
        assert due is not None
        waits.append(due - at)
        at = due
    assert 30_000 <= waits[0] <= 37_500
    assert 600_000 <= waits[-1] <= 750_000
    outbox.disconnected()
    assert outbox.next_due() is None


@given(st.lists(st.tuples(st.sampled_from("takedropreleasecut"), st.integers(1, 40))))
def test_nothing_is_lost_and_the_window_holds(actions: list[tuple[str, int]]) -> None:
    outbox, dropped, flying = Outbox(rows(40)), set(), set()
    outbox.connected()
    for at, (action, number) in enumerate(actions):
        if action == "t":
            flying |= {row.report_seq for row in outbox.take(at * 100_000)}
        elif action == "d":
            outbox.drop(number)
            dropped.add(number)
            flying.discard(number)
        elif action == "r":
            outbox.released(number, at=at * 100_000)
            flying.discard(number)
        elif action == "c":
            outbox.disconnected()
            outbox.connected()
            flying.clear()
        assert len(flying) <= WINDOW
    assert len(outbox) == 40 - len(dropped)
