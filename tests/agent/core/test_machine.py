"""The life of work in hand: every phase, with each of its ends, as data."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from agent.core.effects import Download, FileReport, Install
from agent.core.events import AnswerReceived, Finished, Found, Inspected, Started, Woke
from agent.core.machine import Stepped, next_deadline
from agent.core.model import Fault, Phase, State, Told
from protocol.messages import InstalledRelease, StateReport
from protocol.reasons import Reason
from tests.agent.world import (
    BOOT,
    NONCE_2,
    SHOP_2,
    T0,
    ack,
    command,
    control,
    kinds,
    ready,
    received,
    run,
)

AT = 3_000


def finished(phase: Phase, fault: Fault | None = None, *, at: int = AT) -> Finished:
    return Finished(at=at, run="run-1", attempt=1, phase=phase, fault=fault)  # type: ignore[arg-type]


def inspected(found: Found) -> Inspected:
    return Inspected(at=AT, run="run-1", attempt=1, found=found)  # type: ignore[arg-type]


RESTART = Started(at=AT, boot=BOOT)
DOWN, WAIT, INST, VERI, COMM, BACK = (
    Phase.DOWNLOADING,
    Phase.WAITING,
    Phase.INSTALLING,
    Phase.VERIFYING,
    Phase.COMMITTING,
    Phase.ROLLING_BACK,
)
FAULT = Fault(reason=Reason.INSTALL_FAILED, detail="it broke")
BROKEN_BUILD = Fault(reason=Reason.VERIFY_FAILED, detail="unhealthy")
NO_BYTES = Fault(reason=Reason.DOWNLOAD_FAILED, detail="no route")
LATE = "limit"

# Each case: what happens after `accepted`, and everything the agent asks for because of it.
CHAINS: dict[str, tuple[list[Any], list[str]]] = {
    "all well": (
        [finished(DOWN), finished(INST), finished(VERI), finished(COMM)],
        [
            "report:installing",
            "Install",
            "report:verifying",
            "Verify",
            "Commit",
            "report:succeeded:ok:new",
            "Clean",
        ],
    ),
    "download fault": ([finished(DOWN, NO_BYTES)], ["report:failed:download_failed:old", "Clean"]),
    "download limit": ([LATE], ["Abort", "report:failed:download_failed:old", "Clean"]),
    "download kill": ([RESTART], ["Download"]),
    "install fault": (
        [finished(DOWN), finished(INST, FAULT), finished(BACK)],
        ["report:installing", "Install", "RollBack", "report:failed:install_failed:old", "Clean"],
    ),
    "install limit": (
        [finished(DOWN), LATE, finished(BACK)],
        ["report:installing", "Install", "Abort", "RollBack", "report:failed:install_failed:old", "Clean"],
    ),
    "install kill, new is active": (
        [finished(DOWN), RESTART, inspected(Found.NEW), finished(VERI), finished(COMM)],
        [
            "report:installing",
            "Install",
            "Inspect",
            "report:verifying",
            "Verify",
            "Commit",
            "report:succeeded:ok:new",
            "Clean",
        ],
    ),
    "install kill, old is active": (
        [finished(DOWN), RESTART, inspected(Found.OLD)],
        ["report:installing", "Install", "Inspect", "report:failed:interrupted:old", "Clean"],
    ),
    "install kill, neither is whole": (
        [finished(DOWN), RESTART, inspected(Found.BROKEN), finished(BACK)],
        ["report:installing", "Install", "Inspect", "RollBack", "report:failed:interrupted:old", "Clean"],
    ),
    "inspect kill": (
        [finished(DOWN), RESTART, RESTART, inspected(Found.OLD)],
        ["report:installing", "Install", "Inspect", "Inspect", "report:failed:interrupted:old", "Clean"],
    ),
    "inspect fault": (
        [finished(DOWN), RESTART, finished(Phase.INSPECTING, FAULT), finished(BACK)],
        ["report:installing", "Install", "Inspect", "RollBack", "report:failed:install_failed:old", "Clean"],
    ),
    "inspect limit": (
        [finished(DOWN), RESTART, LATE, finished(BACK)],
        [
            "report:installing",
            "Install",
            "Inspect",
            "Abort",
            "RollBack",
            "report:failed:interrupted:old",
            "Clean",
        ],
    ),
    "verify fault": (
        [finished(DOWN), finished(INST), finished(VERI, BROKEN_BUILD), finished(BACK)],
        [
            "report:installing",
            "Install",
            "report:verifying",
            "Verify",
            "RollBack",
            "report:failed:verify_failed:old",
            "Clean",
        ],
    ),
    "verify limit": (
        [finished(DOWN), finished(INST), LATE, finished(BACK)],
        [
            "report:installing",
            "Install",
            "report:verifying",
            "Verify",
            "Abort",
            "RollBack",
            "report:failed:verify_failed:old",
            "Clean",
        ],
    ),
    "verify kill": (
        [finished(DOWN), finished(INST), RESTART, finished(VERI), finished(COMM)],
        [
            "report:installing",
            "Install",
            "report:verifying",
            "Verify",
            "Verify",
            "Commit",
            "report:succeeded:ok:new",
            "Clean",
        ],
    ),
    "commit fault": (
        [finished(DOWN), finished(INST), finished(VERI), finished(COMM, FAULT), finished(BACK)],
        [
            "report:installing",
            "Install",
            "report:verifying",
            "Verify",
            "Commit",
            "RollBack",
            "report:failed:install_failed:old",
            "Clean",
        ],
    ),
    "commit kill": (
        [finished(DOWN), finished(INST), finished(VERI), RESTART, finished(COMM)],
        [
            "report:installing",
            "Install",
            "report:verifying",
            "Verify",
            "Commit",
            "Commit",
            "report:succeeded:ok:new",
            "Clean",
        ],
    ),
    "roll back fault": (
        [finished(DOWN), finished(INST, FAULT), finished(BACK, FAULT)],
        ["report:installing", "Install", "RollBack", "report:failed:install_failed:broken", "Clean"],
    ),
    "roll back limit": (
        [finished(DOWN), finished(INST, FAULT), LATE],
        ["report:installing", "Install", "RollBack", "Abort", "report:failed:install_failed:broken", "Clean"],
    ),
    "roll back kill": (
        [finished(DOWN), finished(INST, FAULT), RESTART, finished(BACK)],
        ["report:installing", "Install", "RollBack", "RollBack", "report:failed:install_failed:old", "Clean"],
    ),
}


def begun() -> State:
    return run(ready(), received(command())).state


@pytest.mark.parametrize("name", CHAINS)
def test_each_fault_in_each_phase_has_its_chain(name: str) -> None:
    state, chain = begun(), []
    events, expected = CHAINS[name]
    for event in events:
        late = Woke(at=state.session.deadline_at or 0, nonce=NONCE_2)
        stepped = run(state, late if event == LATE else event)
        state = stepped.state
        chain += [k for k in kinds(stepped.effects) if k not in {"SayHello", "Reconnect"}]
    assert [k for k in chain if k != "Alarm"] == expected
    ended = expected[-1] == "Clean"
    assert (state.durable.work is None) == ended


def test_a_good_command_is_accepted_and_its_download_asked_for() -> None:
    stepped = run(ready(), received(command()))
    assert kinds(stepped.effects) == ["report:accepted", "report:downloading", "Download"]
    download = stepped.effects[-1]
    assert isinstance(download, Download)
    assert download.work.releases == (SHOP_2,)


def test_success_raises_the_floor_and_lists_what_is_installed_only_at_commit() -> None:
    stepped = run(begun(), finished(DOWN), finished(INST), finished(VERI))
    assert not stepped.state.durable.floors
    stepped = run(stepped.state, finished(COMM))
    assert stepped.state.durable.floors == {"shop": 10}
    shop = InstalledRelease(app="shop", version="2.0", path=SHOP_2.path, sha256=SHOP_2.sha256, counter=20, floor=10)
    assert stepped.state.durable.installed == (shop,)
    report = stepped.effects[0]
    assert isinstance(report, FileReport)
    assert report.report.installed == (shop,)  # type: ignore[union-attr]


TOLD = Told(outputs={"boot_ms": 840})


def reports(stepped: Stepped) -> list[StateReport]:
    found = [effect.report for effect in stepped.effects if isinstance(effect, FileReport)]
    return [report for report in found if isinstance(report, StateReport)]


def test_outputs_are_journalled_with_the_verification_and_reported_at_the_end() -> None:
    stepped = run(begun(), finished(DOWN), finished(INST), replace(finished(VERI), told=TOLD))
    assert stepped.state.durable.work is not None
    assert stepped.state.durable.work.told == TOLD
    stepped = run(stepped.state, RESTART, finished(COMM))
    assert [report.outputs for report in reports(stepped)] == [TOLD.outputs]
    repeated = run(stepped.state, AnswerReceived(at=AT, raw=ack(*range(1, 9))), received(command()))
    assert [report.outputs for report in reports(repeated)] == [TOLD.outputs]


def test_the_outputs_of_a_release_that_is_rolled_back_are_reported() -> None:
    stepped = run(begun(), finished(DOWN), finished(INST), replace(finished(VERI, BROKEN_BUILD), told=TOLD))
    (report,) = reports(run(stepped.state, finished(BACK)))
    assert (report.detail, report.outputs) == ("unhealthy", TOLD.outputs)


def test_why_there_are_no_outputs_stands_in_the_detail() -> None:
    refused = Told(remark="no outputs are reported: too long")
    stepped = run(begun(), finished(DOWN), finished(INST), replace(finished(VERI), told=refused))
    (report,) = reports(run(stepped.state, finished(COMM)))
    assert (report.detail, report.outputs) == (refused.remark, {})
    stepped = run(begun(), finished(DOWN), finished(INST), replace(finished(VERI, BROKEN_BUILD), told=refused))
    (report,) = reports(run(stepped.state, finished(BACK)))
    assert report.detail == f"unhealthy; {refused.remark}"


def test_only_a_verification_tells_outputs() -> None:
    stepped = run(begun(), finished(DOWN), replace(finished(INST), told=TOLD), finished(VERI), finished(COMM))
    assert reports(stepped)[-1].outputs == {}


def test_the_outputs_of_the_last_end_alone_are_remembered() -> None:
    state = run(begun(), finished(DOWN), finished(INST), replace(finished(VERI, BROKEN_BUILD), told=TOLD)).state
    state = run(state, finished(BACK), received(command(seq=T0 + 1, attempt=2))).state
    again = [replace(finished(phase), attempt=2, told=TOLD) for phase in (DOWN, INST, VERI, COMM)]
    assert [end.outputs for end in run(state, *again).state.durable.finals] == [{}, TOLD.outputs]


def broken() -> State:
    return run(begun(), finished(DOWN), finished(INST, FAULT), finished(BACK, FAULT)).state


def test_a_device_that_was_left_broken_says_so_until_something_is_whole() -> None:
    again = received(command(seq=T0 + 1, attempt=2))
    state = run(broken(), again).state
    stepped = run(state, received(control("cancel", seq=T0 + 2, epoch=1)))
    assert "report:cancelled:cancelled:broken" in kinds(stepped.effects)

    steps = [msgspec.structs.replace(finished(phase), attempt=2) for phase in (DOWN, INST, VERI, COMM)]
    assert "report:succeeded:ok:new" in kinds(run(state, *steps).effects)
    whole = run(state, *steps).state
    stepped = run(whole, received(command(seq=T0 + 3, run="run-2")), received(control("cancel", seq=T0 + 4, epoch=1)))
    assert not stepped.state.durable.is_broken


def test_a_roll_back_on_a_broken_device_leaves_it_as_broken_as_it_was() -> None:
    state = run(broken(), received(command(seq=T0 + 1, attempt=2))).state
    steps = [finished(DOWN), finished(INST, FAULT), finished(BACK)]
    stepped = run(state, *[msgspec.structs.replace(step, attempt=2) for step in steps])
    assert "report:failed:install_failed:broken" in kinds(stepped.effects)
    assert stepped.state.durable.is_broken


def test_the_installer_is_asked_once_however_often_the_agent_restarts() -> None:
    stepped = run(begun(), finished(DOWN), *[RESTART] * 40)
    assert sum(isinstance(effect, Install) for effect in stepped.effects) == 1


@pytest.mark.parametrize("phases", [[DOWN], [DOWN, INST], [DOWN, INST, VERI]], ids=["install", "verify", "commit"])
def test_a_loop_of_restarts_ends_in_a_roll_back(phases: list[Phase]) -> None:
    state = run(begun(), *[finished(phase) for phase in phases]).state
    stepped = run(state, *[RESTART] * 100)
    assert stepped.state.durable.work is None
    assert kinds(stepped.effects)[-2:] == ["Clean", "Clean"]
    assert "report:failed:transitions_exhausted:broken" in kinds(stepped.effects)
    stepped = run(state, *[RESTART] * 30, finished(BACK))
    assert "report:failed:transitions_exhausted:old" in kinds(stepped.effects)


def test_a_loop_of_restarts_while_downloading_ends() -> None:
    stepped = run(begun(), *[RESTART] * 40)
    assert "report:failed:transitions_exhausted:old" in kinds(stepped.effects)


def test_an_end_that_belongs_to_no_step_changes_nothing() -> None:
    state = begun()
    stale = [
        finished(INST),
        finished(WAIT),
        replace(finished(DOWN), attempt=2),
        replace(finished(DOWN), run="other"),
        inspected(Found.NEW),
    ]
    for event in stale:
        stepped = run(state, event)
        assert kinds(stepped.effects) == ["Alarm"]
        assert stepped.state == state


def test_the_next_deadline_is_that_of_the_step() -> None:
    state = begun()
    assert state.session.deadline_at == 2_000 + 3_600_000
    assert next_deadline(state) == 1_000 + 600_000  # the next hello comes first


def test_neither_a_wait_nor_an_inspection_is_finished_by_a_step() -> None:
    held = run(begun(), received(control("hold", seq=T0 + 1, epoch=2)), finished(DOWN)).state
    inspecting = run(begun(), finished(DOWN), RESTART).state
    for state, phase in ((held, WAIT), (inspecting, Phase.INSPECTING)):
        stepped = run(state, finished(phase))
        assert kinds(stepped.effects) == ["Alarm"]
        assert stepped.state == state


INSTALLED = InstalledRelease(
    app=SHOP_2.app, version=SHOP_2.version, path=SHOP_2.path, sha256=SHOP_2.sha256, counter=SHOP_2.counter
)


def listed() -> State:
    """Return a device whose own list says that the release of the command is installed."""
    state = ready()
    return replace(state, durable=replace(state.durable, installed=(INSTALLED,)))


def test_what_is_installed_already_is_left_alone() -> None:
    asked = run(listed(), received(command()))
    assert kinds(asked.effects) == ["report:accepted", "Inspect"]
    done = run(asked.state, inspected(Found.NEW))
    assert kinds(done.effects) == ["report:succeeded:ok:new", "Clean"]
    assert done.state.durable.work is None


@pytest.mark.parametrize("answer", [inspected(Found.OLD), inspected(Found.BROKEN), finished(Phase.INSPECTING, FAULT)])
def test_what_the_list_says_and_the_disk_does_not_is_installed(answer: Inspected | Finished) -> None:
    asked = run(listed(), received(command()))
    begun = run(asked.state, answer)
    assert kinds(begun.effects) == ["report:downloading", "Download"]


def test_a_kill_while_it_is_asked_asks_again() -> None:
    asked = run(listed(), received(command()))
    again = run(asked.state, RESTART)
    assert kinds(again.effects) == ["Inspect"]
    assert kinds(run(again.state, inspected(Found.NEW)).effects) == ["report:succeeded:ok:new", "Clean"]
