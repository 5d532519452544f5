"""The invariants of a rollout, each judged from outside after every event; numbers are those of the specification.

To add one: write a `Law` in a module named after what it protects, list it in `LAWS`, plant a bug that only it finds.
"""

from typing import Final

from simulator.virtual.laws.attempts import AttemptsFollowEachOther, ClocksAreRunTime, OneWorkPerDevice
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.fence import NothingAfterThePause
from simulator.virtual.laws.installs import InstalledOnce, WholeOrOld
from simulator.virtual.laws.law import Law
from simulator.virtual.laws.membership import OnlyMembers
from simulator.virtual.laws.outbox import CommittedBeforeSent
from simulator.virtual.laws.pace import InFlightIsBounded
from simulator.virtual.laws.reports import AcknowledgedIsStored
from simulator.virtual.laws.sequence import SequenceRises
from simulator.virtual.laws.tables import StatesFollowTables

LAWS: Final[tuple[type[Law], ...]] = (
    InFlightIsBounded,
    OnlyMembers,
    NothingAfterThePause,
    InstalledOnce,
    OneWorkPerDevice,
    AttemptsFollowEachOther,
    ClocksAreRunTime,
    AcknowledgedIsStored,
    SequenceRises,
    StatesFollowTables,
    CountersAddUp,
    CommittedBeforeSent,
    WholeOrOld,
)
