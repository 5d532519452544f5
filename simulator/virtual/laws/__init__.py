"""The invariants of a rollout, each judged from outside after every event; numbers are those of the specification.

To add one: write a `Law` in a module named after what it protects, list it in `LAWS`, plant a bug that only it finds.
"""

from typing import Final

from simulator.virtual.laws.admission import OnlyAdmitted
from simulator.virtual.laws.attempts import AttemptsFollowEachOther, ClocksAreRunTime, OneWorkPerDevice
from simulator.virtual.laws.blame import BlameIsDeserved
from simulator.virtual.laws.breaches import BreachesAreKept, NobodyBeginsBeyond
from simulator.virtual.laws.by_hand import OnlyByHand
from simulator.virtual.laws.checks import ChecksHold
from simulator.virtual.laws.clocks import AttemptsHaveAnEnd, WaitingHasAnEnd
from simulator.virtual.laws.conditions import ConditionsAreObeyed, OutputsAreTheDevices
from simulator.virtual.laws.consent import ApprovedByOthers, NothingWithdrawnIsSent
from simulator.virtual.laws.control import ComparisonsHold, HeldBackAreApart, HeldBackOnlyWatch
from simulator.virtual.laws.counters import CountersAddUp
from simulator.virtual.laws.fence import FencedIsNeverSent, NothingAfterThePause
from simulator.virtual.laws.freezes import FreezesHold
from simulator.virtual.laws.idle import IdleIsNoticed
from simulator.virtual.laws.installs import FloorsRiseAtCommit, InstalledOnce, NeverBelowTheFloor, WholeOrOld
from simulator.virtual.laws.joining import NewcomersJoin
from simulator.virtual.laws.law import Law
from simulator.virtual.laws.marks import MarksCount, WatchesEndInAWord
from simulator.virtual.laws.measures import MeasuresAreFew
from simulator.virtual.laws.membership import NobodyIsLeftOut, OnlyMembers
from simulator.virtual.laws.metrics import MetricsHold
from simulator.virtual.laws.once import HappensOnce
from simulator.virtual.laws.outbox import CommittedBeforeSent, OwedIsSentAgain
from simulator.virtual.laws.pace import InFlightIsBounded, RatesHold
from simulator.virtual.laws.pairs import PairsAreFair
from simulator.virtual.laws.presence import WhoIsThereIsKnown
from simulator.virtual.laws.proofs import ProofsAreThere
from simulator.virtual.laws.quarantine import QuarantinedStayOut, QuarantinesAreDeserved
from simulator.virtual.laws.ramps import RampsHold
from simulator.virtual.laws.recalls import StopsAreTold
from simulator.virtual.laws.removals import RemovedIsGone
from simulator.virtual.laws.reports import AcknowledgedIsStored, DuplicatesChangeNothing
from simulator.virtual.laws.restart import RestartsWhereItWas
from simulator.virtual.laws.retries import RetriesWhatFailed
from simulator.virtual.laws.rollbacks import BackToWhatWasThere
from simulator.virtual.laws.sequence import SequenceRises
from simulator.virtual.laws.silence import SilenceCounts
from simulator.virtual.laws.stages import GatesHold, StagesOpenInOrder
from simulator.virtual.laws.starts import PlansStay, StartsOnce
from simulator.virtual.laws.tables import StatesFollowTables

LAWS: Final[tuple[type[Law], ...]] = (
    InFlightIsBounded,
    RatesHold,
    OnlyMembers,
    OnlyAdmitted,
    QuarantinedStayOut,
    RemovedIsGone,
    NobodyIsLeftOut,
    NewcomersJoin,
    RetriesWhatFailed,
    BackToWhatWasThere,
    NothingAfterThePause,
    NothingWithdrawnIsSent,
    FencedIsNeverSent,
    FreezesHold,
    StopsAreTold,
    InstalledOnce,
    OneWorkPerDevice,
    AttemptsFollowEachOther,
    ClocksAreRunTime,
    IdleIsNoticed,
    AttemptsHaveAnEnd,
    WaitingHasAnEnd,
    AcknowledgedIsStored,
    DuplicatesChangeNothing,
    OutputsAreTheDevices,
    StagesOpenInOrder,
    ConditionsAreObeyed,
    ApprovedByOthers,
    GatesHold,
    ProofsAreThere,
    NobodyBeginsBeyond,
    BreachesAreKept,
    QuarantinesAreDeserved,
    RampsHold,
    ChecksHold,
    BlameIsDeserved,
    MarksCount,
    WatchesEndInAWord,
    HeldBackOnlyWatch,
    ComparisonsHold,
    MeasuresAreFew,
    PairsAreFair,
    MetricsHold,
    SilenceCounts,
    SequenceRises,
    StatesFollowTables,
    PlansStay,
    OnlyByHand,
    CountersAddUp,
    HeldBackAreApart,
    CommittedBeforeSent,
    StartsOnce,
    HappensOnce,
    RestartsWhereItWas,
    OwedIsSentAgain,
    WholeOrOld,
    FloorsRiseAtCommit,
    NeverBelowTheFloor,
    WhoIsThereIsKnown,
)
