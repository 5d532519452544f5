"""What should hold of a run now."""

from controller.domain.settle.comparison import accepted as accepted
from controller.domain.settle.comparison import holds_of as holds_of
from controller.domain.settle.comparison import shortfalls as shortfalls
from controller.domain.settle.judging import ALL_QUARANTINED as ALL_QUARANTINED
from controller.domain.settle.reasons import BREACH as BREACH
from controller.domain.settle.reasons import CRASHES as CRASHES
from controller.domain.settle.reasons import METRIC as METRIC
from controller.domain.settle.reasons import RAMP as RAMP
from controller.domain.settle.reasons import STOP_EVERYTHING as STOP_EVERYTHING
from controller.domain.settle.reasons import TELEMETRY as TELEMETRY
from controller.domain.settle.reasons import breach_of as breach_of
from controller.domain.settle.reasons import crashes_of as crashes_of
from controller.domain.settle.reasons import hold_of as hold_of
from controller.domain.settle.reasons import metric_of as metric_of
from controller.domain.settle.reasons import paused as paused
from controller.domain.settle.reasons import telemetry_of as telemetry_of
from controller.domain.settle.releases import control_room as control_room
from controller.domain.settle.releases import queue_limit as queue_limit
from controller.domain.settle.releases import room as room
from controller.domain.settle.releases import slots as slots
from controller.domain.settle.whole import settle as settle
