"""Random programs over a store: transactions of calls on every repository, some of which raise in the end.

Everything is drawn from few values, so that calls meet: six devices, three jobs, some runs of two stages, a few
positions in each.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from controller.app.errors import Conflict
from controller.app.records import (
    AuditRecord,
    ChannelRecord,
    ClaimRecord,
    CommandState,
    EventRecord,
    OfModel,
    SecurityRecord,
    TargetRecord,
    TokenRecord,
)
from controller.app.repositories import Transaction
from controller.domain.pipeline import Targets
from controller.domain.query import Formula, render
from controller.domain.states import ReleaseState, RunState
from controller.domain.target import TargetState
from controller.domain.trigger import OnRelease, OnSchedule, StartRequest
from protocol.ids import PARTITIONS, AppName, DeviceId, Name
from protocol.messages import Op
from tests.controller.domain.query.trees import PATHS, entries, trees, versions
from tests.controller.store.samples import (
    NOW,
    add_devices,
    add_job,
    at,
    command,
    device,
    digest,
    installed,
    pipeline,
    report,
    run,
    target,
)
from tests.simulator.memory import restraining
from tests.simulator.memory.test_others import release

DEVICES: Final = 6
MEMBERS: Final = 4
JOBS: Final = ("a", "b", "c")
LIVES: Final = (0, 1, 2)
INCARNATION: Final = report(1, 1).incarnation


@dataclass(frozen=True)
class Call:
    """One call: a function over a transaction, and what it is given."""

    act: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"{self.act.__name__}{self.arguments}"

    def __call__(self, tx: Transaction) -> Any:
        return self.act(tx, *self.arguments)


@dataclass(frozen=True)
class Step:
    """One transaction, or one that only reads; `fails` is raised once all its calls were made."""

    calls: tuple[Call, ...]
    fails: bool


def begin(tx: Transaction) -> None:
    """Have devices, jobs, and two runs with targets and commands."""
    add_devices(tx, DEVICES, instance=1, connection="c1")
    for name in JOBS:
        add_job(tx, name)
    for name in JOBS[:2]:
        record = add_run(tx, name, f"first-{name}")
        rows = [target(record, number, number, ready=1) for number in range(1, MEMBERS)]
        tx.targets.add([*rows, target(record, 1, MEMBERS, stage=1)])
        tx.commands.add([command(record.id * 10 + row.device_id, record, row) for row in rows])


# --- calls ------------------------------------------------------------------------------------------------------


def add_device(tx: Transaction, number: int, app: str, version: str) -> Any:
    return tx.devices.add(device(number, installed=(installed(app, version),), labels={"app": app}))


def by_names(tx: Transaction, numbers: list[int]) -> Any:
    return tx.devices.by_names([Name(f"acme:kiosk-{number:04}") for number in numbers])


def page_of_devices(tx: Transaction, filters: dict[str, Any]) -> Any:
    return tx.devices.page(**filters)


def allocate_seqs(tx: Transaction, ids: list[int], when: int) -> Any:
    return tx.devices.allocate_seqs(ids, at=at(when))


def save_hello(tx: Transaction, number: int, life: int, seq: int) -> Any:
    said = device(number, id=number, instance=life, seq=seq, connection=f"c{life}", facts={"seq": str(seq)})
    return tx.devices.save_hello(said)


def save_installed(tx: Transaction, number: int, version: str, is_broken: bool | None) -> Any:
    return tx.devices.save_installed([(number, [installed("shop", version)], is_broken)])


def say_hello(tx: Transaction, number: int, facts: dict[str, str], apps: list[tuple[str, str]]) -> Any:
    said = device(number, id=number, facts=facts, installed=tuple(installed(*app) for app in apps), agent="1.10")
    return tx.devices.save_hello(said)


def select(tx: Transaction, tree: Formula, group: str) -> Any:
    chosen = tx.devices.ids(tree), tx.devices.matching(Targets(query=render(tree), groups=(group,)))
    return chosen, tx.devices.candidates(list(range(DEVICES, 0, -1)))


def add_groups(tx: Transaction, paths: list[str]) -> Any:
    tx.groups.add([path for path in paths if path not in tx.groups.paths()], at=NOW)
    return tx.groups.counted()


def change_group(tx: Transaction, path: str, numbers: list[int], is_added: bool) -> Any:
    if path not in tx.groups.paths():
        return None
    act = tx.groups.add_members if is_added else tx.groups.drop_members
    known = tx.groups.ids_of([DeviceId(f"kiosk-{number:04}") for number in numbers])
    return act(path, known.values())


def remove_group(tx: Transaction, path: str) -> Any:
    tx.groups.remove(path)
    return tx.groups.paths()


def save_gone(tx: Transaction, number: int, life: int, when: int) -> Any:
    return tx.devices.save_gone(number, connection=f"c{life}", at=at(when))


def sighted(tx: Transaction, after: int, limit: int) -> Any:
    return tx.devices.sighted(range(0, PARTITIONS, 2), after=after, limit=limit)


def set_gone(tx: Transaction, numbers: list[int]) -> Any:
    return tx.devices.set_gone(numbers)


def set_labels(tx: Transaction, number: int, value: str) -> Any:
    return tx.devices.set_labels(DeviceId(f"kiosk-{number:04}"), {"app": value})


def set_blocked(tx: Transaction, number: int, is_blocked: bool) -> Any:
    return tx.devices.set_blocked(DeviceId(f"kiosk-{number:04}"), is_blocked=is_blocked)


def set_removed(tx: Transaction, number: int, when: int) -> Any:
    tx.devices.set_removed(DeviceId(f"kiosk-{number:04}"), at=at(when))
    return tx.devices.roll(), tx.devices.count()


def set_certificate(tx: Transaction, number: int, serial: str, when: int) -> Any:
    return tx.devices.set_certificate(number, serial=serial, expires_at=at(when))


def count_devices(tx: Transaction, app: str) -> Any:
    return tx.devices.count(), tx.devices.installed_counts(app), tx.devices.matching(Targets())


def add_run(tx: Transaction, job: str, uid: str) -> Any:
    found = tx.catalog.job(job)
    assert found is not None
    try:
        return tx.runs.add(run(found, uid))
    except Conflict as error:
        return str(error)


def save_run(tx: Transaction, run_id: int, state: RunState, wake_at: int | None, job_id: int) -> Any:
    record = tx.runs.get(run_id)
    changed = msgspec.structs.replace(record.run, state=state, epoch=record.run.epoch + 1)
    wake = None if wake_at is None else at(wake_at)
    return tx.runs.save(msgspec.structs.replace(record, run=changed, wake_at=wake, job_id=job_id))


def page_of_runs(tx: Transaction, job: str | None, active: bool | None, before: int | None, limit: int) -> Any:
    return tx.runs.page(job=job, active=active, before=before, limit=limit)


def runs_of(tx: Transaction, uid: str, when: int) -> Any:
    return tx.runs.by_uid(uid), tx.runs.active_ids(), tx.runs.waking(at(when)), tx.runs.next_wake()


def _row(tx: Transaction, run_id: int, stage: int, place: int, number: int, **changes: Any) -> TargetRecord:
    return target(tx.runs.get(run_id), place, number, stage=stage, **changes)


def add_target(tx: Transaction, place: tuple[int, int, int, int], changes: dict[str, Any]) -> Any:
    return tx.targets.add([_row(tx, *place, **changes)])


def save_targets(tx: Transaction, rows: list[tuple[tuple[int, int, int, int], dict[str, Any]]]) -> Any:
    return tx.targets.save([_row(tx, *place, **changes) for place, changes in rows])


def get_targets(tx: Transaction, places: list[tuple[int, int, int, int]]) -> Any:
    return tx.targets.get([_row(tx, *place).id for place in places])


def ready(tx: Transaction, stage_id: int, life: int, now: int, limit: int) -> Any:
    return tx.targets.ready(stage_id, instance=life, now=now, limit=limit)


def in_stage(tx: Transaction, stage_id: int, state: TargetState) -> Any:
    meant = (OfModel("k1"), OfModel("", apart_from=("k1",)))
    return tx.targets.in_stage(stage_id, state), [tx.targets.of_model(stage_id, state, one) for one in meant]


def targets_of(tx: Transaction, run_id: int, number: int) -> Any:
    found = tx.targets.members(run_id), tx.targets.in_flight(run_id), tx.targets.next_due(run_id)
    later = tx.targets.members_among(run_id, [1, 3]), tx.targets.next_id(run_id), tx.runs.open_to_newcomers()
    return found, later, tx.targets.at_work(number), tx.targets.of_device(number)


def due_targets(tx: Transaction, run_id: int, now: int, limit: int) -> Any:
    return tx.targets.due(run_id, now, limit=limit)


def set_ready(tx: Transaction, numbers: list[int], life: int) -> Any:
    return tx.targets.set_ready(numbers, life)


def page_of_targets(tx: Transaction, run_id: int, stage: int | None, state: TargetState | None, limit: int) -> Any:
    return [tx.targets.page(run_id, stage=stage, state=state, after=after, limit=limit) for after in (0, 1 << 32 | 2)]


def past_targets(tx: Transaction, stages: tuple[int, ...]) -> Any:
    unsuccessful = [tx.targets.unsuccessful(stages, with_cancelled=cancelled) for cancelled in (False, True)]
    return unsuccessful, tx.targets.reached(stages)


def note_previous(tx: Transaction, places: list[tuple[int, int, int, int]], app: str) -> Any:
    return tx.targets.note_previous([_row(tx, *place).id for place in places], app=AppName(app))


def add_commands(tx: Transaction, run_id: int, number: int, place: tuple[int, int, int, int] | None, op: Op) -> Any:
    """Add a command of a run, or of a target, and then of that one's run: its id says which."""
    row = None if place is None else _row(tx, *place)
    run = tx.runs.get(run_id if row is None else row.run_id)
    return tx.commands.add([command(number, run, row, op=op, send_at=at(number % 7))])


def add_closed(tx: Transaction, run_id: int, number: int, state: CommandState) -> Any:
    return tx.commands.add([command(number, tx.runs.get(run_id), state=state)])


def given(tx: Transaction, numbers: list[int]) -> Any:
    return tx.commands.given([digest(number) for number in numbers])


def open_for(tx: Transaction, number: int) -> Any:
    return tx.commands.open_for(number), tx.commands.next_due(), tx.commands.unsent_count()


def controls_for(tx: Transaction, number: int) -> Any:
    return tx.commands.controls_for([number, number + 1])


def drop(tx: Transaction, ids: list[int]) -> Any:
    return tx.commands.drop(ids)


def due_commands(tx: Transaction, when: int, limit: int) -> Any:
    return tx.commands.due(at(when), limit=limit)


def mark_sent(tx: Transaction, ids: list[int], when: int) -> Any:
    return tx.commands.mark_sent(ids, again_at=at(when))


def postpone(tx: Transaction, ids: list[int], when: int) -> Any:
    return tx.commands.postpone(ids, until=at(when))


def close(tx: Transaction, places: list[tuple[int, int, int, int]]) -> Any:
    return tx.commands.close([_row(tx, *place).id for place in places])


def void(tx: Transaction, run_id: int, stage: int | None) -> Any:
    return tx.commands.void(run_id=run_id, stage=stage)


def add_revision(tx: Transaction, name: str, when: int) -> Any:
    return tx.catalog.add_revision(name, pipeline(1, name), author="ann", at=at(when))


def read_catalog(tx: Transaction, name: str, number: int) -> Any:
    pipelines = tx.catalog.pipeline(name), tx.catalog.pipeline(name, number), tx.catalog.pipelines()
    return pipelines, tx.catalog.job(name), tx.catalog.jobs(), tx.catalog.releases(name), tx.catalog.release_document()


def add_a_job(tx: Transaction, name: str) -> Any:
    try:
        return add_job(tx, name)
    except Conflict as error:
        return str(error)


def change_a_job(tx: Transaction, name: str, priority: int, when: int) -> Any:
    found = tx.catalog.job(name)
    if found is None:
        return None
    if priority or found.active_run is not None:
        tx.catalog.save_job(msgspec.structs.replace(found, pipeline=name, priority=priority))
    else:
        tx.catalog.archive_job(name, at=at(when))
    return tx.catalog.job(name)


def archive_pipeline(tx: Transaction, name: str, when: int) -> Any:
    if tx.catalog.pipeline(name) is not None:
        tx.catalog.archive_pipeline(name, at=at(when))
    pages = tx.catalog.revisions(name, before=None, limit=2), tx.catalog.revisions(name, before=2, limit=9)
    return pages, tx.catalog.pipeline(name), tx.catalog.pipelines()


def save_job(tx: Transaction, name: str, when: int | None, version: str | None) -> Any:
    job = tx.catalog.job(name)
    if job is None:
        return None
    waiting = None if version is None else StartRequest(by=name, at=NOW, version=version)
    next_at = None if when is None else at(when)
    triggers = (OnRelease(channel=name), OnSchedule(cron="0 2 * * *"))
    changed = msgspec.structs.replace(job, triggers=triggers, next_at=next_at, waiting=waiting, hook=version)
    tx.catalog.save_job(changed)
    return tx.catalog.job(name)


def startable(tx: Transaction, when: int) -> Any:
    return tx.catalog.startable(at(when)), tx.catalog.next_start()


def add_to_channel(tx: Transaction, app: str, channel: str, version: str, when: int) -> Any:
    return tx.catalog.add_to_channel(ChannelRecord(app=app, channel=channel, version=version, at=at(when), actor="a"))


def remove_from_channel(tx: Transaction, app: str, channel: str, version: str) -> Any:
    return tx.catalog.remove_from_channel(app, channel, version), tx.catalog.channels(), tx.catalog.channels(app)


def add_release(tx: Transaction, app: str, version: str, counter: int) -> Any:
    tx.catalog.add_releases([release(app, version, counter)])
    found = tx.catalog.release(app, version)
    assert found is not None
    state = list(ReleaseState)[counter % len(ReleaseState)]
    tx.catalog.save_release(msgspec.structs.replace(found, state=state, state_by="ann", state_at=at(counter)))
    return tx.catalog.release(app, version)


def add_document(tx: Transaction, version: int) -> Any:
    return tx.catalog.add_release_document(version, str(version).encode(), at=NOW)


def add_token(tx: Transaction, name: str, secret: str, when: int) -> Any:
    made = TokenRecord(id=name, name=name, role="r", secret_sha256=secret, created_at=at(when), expires_at=None)
    return tx.credentials.add_token(made)


def revoke_token(tx: Transaction, name: str, when: int) -> Any:
    return tx.credentials.revoke_token(name, at=at(when)), tx.credentials.token_by_hash(name)


def add_claim(tx: Transaction, name: str, secret: str, uses: int, when: int) -> Any:
    return tx.credentials.add_claim(ClaimRecord(id=name, secret_sha256=secret, uses_left=uses, expires_at=at(when)))


def spend_claim(tx: Transaction, secret: str, when: int) -> Any:
    return tx.credentials.spend_claim(secret, at=at(when))


def add_report(tx: Transaction, number: int, seq: int) -> Any:
    known = tx.log.known_reports([(number, INCARNATION, seq), (number, INCARNATION, seq + 1)])
    tx.log.add_reports([report(number, seq)])
    return known


def add_entries(tx: Transaction, run_id: int, when: int, id_: int) -> Any:
    tx.log.add_events([EventRecord(run_id=run_id, at=at(when), kind="x", data={"n": when})])
    tx.log.add_security([SecurityRecord(at=at(when), name="n", code="c", digest="", detail="")])
    entry = AuditRecord(id=id_, at=at(when), actor="a", verb="v", subject="s", reason="", previous="", hash="")
    tx.log.add_audit(entry)


def read_log(tx: Transaction, run_id: int, after: int, limit: int) -> Any:
    events = tx.log.events(run_id, after=after, limit=limit)
    security = tx.log.security(after=after, limit=limit)
    return events, security, tx.log.audit(after=after, limit=limit), tx.log.last_audit(), tx.log.heartbeat()


def beat(tx: Transaction, when: int) -> Any:
    return tx.log.beat(at(when))


# --- chance -----------------------------------------------------------------------------------------------------

_number = st.integers(1, DEVICES + 1)
_numbers = st.lists(_number, max_size=4)
_run = st.sampled_from([1, 2] * 4 + [3])
_stage = st.sampled_from([0, 0, 1])
_when = st.integers(0, 9)
_maybe_when = st.none() | _when
_limit = st.sampled_from([0, 1, 2, 4, 9])
_life = st.sampled_from(LIVES)
_word = st.sampled_from(["shop", "a", "b"])
_version = st.sampled_from(["1", "2"])
_place = st.tuples(_run, _stage, st.integers(1, 3), st.integers(1, DEVICES))
_places = st.lists(_place, max_size=3)
_command_ids = st.lists(st.integers(1, 10), max_size=4)
_state = st.sampled_from([*[TargetState.QUEUED, TargetState.IN_PROGRESS] * 4, *TargetState])
_changes = st.fixed_dictionaries(
    {"state": _state}, optional={"due": _maybe_when, "ready": _life, "updated_at": st.just(at(1))}
)
_run_state = st.sampled_from([RunState.RUNNING, RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED])
_filters = st.fixed_dictionaries(
    {
        "labels": st.just({}) | st.builds(lambda word: {"app": word}, _word),
        "online": st.none() | st.booleans(),
        "instance": _life,
        "app": st.none() | _word,
        "version": st.none() | _version,
        "after": st.sampled_from(["", "kiosk-0002"]),
        "limit": _limit,
    }
)

_ARGUMENTS: Final[dict[Callable[..., Any], tuple[st.SearchStrategy[Any], ...]]] = {
    add_device: (_number, _word, _version),
    by_names: (_numbers,),
    page_of_devices: (_filters,),
    allocate_seqs: (_numbers, _when),
    save_hello: (_number, _life, _when),
    save_installed: (_number, _version, st.none() | st.booleans()),
    say_hello: (_number, entries, st.lists(st.tuples(_word, versions), max_size=3)),
    select: (trees, st.sampled_from(PATHS)),
    add_groups: (st.lists(st.sampled_from(PATHS), max_size=2, unique=True),),
    change_group: (st.sampled_from(PATHS), _numbers, st.booleans()),
    remove_group: (st.sampled_from(PATHS),),
    save_gone: (_number, _life, _when),
    sighted: (_number, _limit),
    set_gone: (_numbers,),
    set_labels: (_number, _word),
    set_blocked: (_number, st.booleans()),
    set_removed: (_number, _when),
    set_certificate: (_number, _word, _when),
    count_devices: (_word,),
    add_run: (st.sampled_from(["c", *JOBS]), st.sampled_from(["r1", "r2", "r3", "first-a"])),
    save_run: (_run, _run_state, _maybe_when, st.integers(1, 3)),
    page_of_runs: (st.none() | st.sampled_from(JOBS), st.none() | st.booleans(), st.none() | _run, _limit),
    runs_of: (st.sampled_from(["r1", "first-a"]), _when),
    add_target: (st.tuples(_run, _stage, st.integers(1, 5), st.integers(1, DEVICES)), _changes),
    save_targets: (st.lists(st.tuples(_place, _changes), max_size=3, unique_by=lambda row: row[0][:3]),),
    get_targets: (_places,),
    ready: (st.integers(1, 4), _life, _when, _limit),
    in_stage: (st.integers(1, 4), _state),
    targets_of: (_run, _number),
    due_targets: (_run, _when, _limit),
    set_ready: (_numbers, _life),
    page_of_targets: (_run, st.none() | _stage, st.none() | _state, _limit),
    past_targets: (st.sampled_from([(1,), (2,), (1, 2), (3, 4)]),),
    note_previous: (_places, st.sampled_from(["shop", "till"])),
    add_commands: (_run, st.integers(30, 50), st.none() | _place, st.sampled_from(Op)),
    add_closed: (_run, st.integers(50, 60), st.sampled_from(CommandState)),
    given: (st.lists(st.integers(10, 60), max_size=9),),
    open_for: (_number,),
    controls_for: (_number,),
    drop: (st.lists(st.integers(1, 20), max_size=3),),
    due_commands: (_when, _limit),
    mark_sent: (_command_ids, _when),
    postpone: (_command_ids, _when),
    close: (_places,),
    void: (_run, st.none() | st.integers(0, 2)),
    add_revision: (_word, _when),
    read_catalog: (_word, st.integers(0, 2)),
    add_a_job: (_word,),
    change_a_job: (_word | st.sampled_from(JOBS), st.integers(0, 2), _when),
    archive_pipeline: (_word, _when),
    save_job: (st.sampled_from(JOBS), _maybe_when, st.none() | _version),
    startable: (_when,),
    add_to_channel: (_word, _word, _version, _when),
    remove_from_channel: (_word, _word, _version),
    add_release: (_word, _version, _when),
    add_document: (_when,),
    add_token: (_word, _word, _when),
    revoke_token: (_word, _when),
    add_claim: (_word, _word, st.integers(0, 2), _when),
    spend_claim: (_word, _when),
    add_report: (_number, _when),
    add_entries: (_run, _when, st.sampled_from([0, 0, 0, 7])),
    read_log: (_run, st.integers(0, 3), _limit),
    beat: (_when,),
    **restraining.ARGUMENTS,
}

_HOT: Final = (save_targets, set_ready, ready, save_run, add_commands, mark_sent, close, void)
"""What has the most indexes to keep is called more often."""


def _call_of(act: Callable[..., Any]) -> st.SearchStrategy[Call]:
    return st.builds(Call, st.just(act), st.tuples(*_ARGUMENTS[act]))


_acts: list[Callable[..., Any]] = [*_ARGUMENTS, *_HOT * 4]
_call = st.sampled_from(_acts).flatmap(_call_of)
_step = st.builds(Step, st.lists(_call, min_size=1, max_size=6).map(tuple), st.sampled_from([False, False, True]))
steps = st.lists(_step, min_size=4, max_size=15)


def dump(tx: Transaction) -> list[Any]:
    """Return everything that a store shows."""
    runs = tx.runs.page(job=None, active=None, before=None, limit=99)
    everyone: Any = {"labels": {}, "online": None, "instance": 1, "app": None, "version": None, "after": ""}
    numbers = range(1, DEVICES + 3)
    stages = [stage_id for one in runs for stage_id in one.stage_ids]
    return [
        runs,
        [tx.groups.counted(), [tx.groups.groups_of(number) for number in numbers]],
        [tx.devices.page(**everyone, limit=99), tx.devices.roll(), tx.devices.matching(Targets())],
        [(tx.runs.active_ids(), tx.runs.waking(at(9)), tx.runs.next_wake())],
        [tx.targets.page(one.id, stage=None, state=None, after=0, limit=99) for one in runs],
        [
            (
                tx.targets.in_flight(one.id),
                tx.targets.due(one.id, 9, limit=99),
                tx.targets.members(one.id),
                tx.targets.placed(one.id),
            )
            for one in runs
        ],
        [tx.targets.ready(id_, instance=life, now=9, limit=99) for id_ in stages for life in LIVES],
        [tx.targets.at_work(number) for number in numbers],
        [tx.commands.controls_for(numbers)],
        [tx.commands.given([digest(number) for number in range(99)]), tx.commands.due(at(99), limit=99)],
        [tx.commands.next_due(), tx.commands.unsent_count()],
        [tx.catalog.jobs(), tx.catalog.pipelines(), tx.catalog.releases(), tx.catalog.release_document()],
        [tx.credentials.tokens()],
        [tx.log.events(one.id, after=0, limit=99) for one in runs],
        [tx.log.security(after=0, limit=99), tx.log.audit(after=0, limit=99), tx.log.heartbeat()],
        restraining.dump(tx),
        [tx.log.known_reports([(number, INCARNATION, seq) for number in numbers for seq in range(10)])],
    ]
