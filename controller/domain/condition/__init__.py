"""Conditions of stages: whether a stage opens, by how devices of the stages before it ended and what they told.

    condition  = all { "||" all }
    all        = one { "&&" one }
    one        = [ "!" ] "(" condition ")" | value compare value
    value      = number [ "%" ] | ("count" | "share") "(" stage [ "," "state" ("==" text | "in" "[" texts "]") ] ")"
                                | ("min" | "max" | "avg") "(" stage "," output ")"

`count` is of devices, all of a stage unless states are named; `share` is per cent of all of them, 0 of none. `min`,
`max` and `avg` are of the numbers that devices told under the name of an output; while nobody has told one, no
condition holds that asks for it, whatever else it says.

>>> counts = {StageName("eu"): {"succeeded": 9, "failed": 1}}
>>> judge('share("eu", state == "succeeded") >= 95%', counts)
Judgement(holds=False, numbers='share("eu", succeeded) is 90 %')
>>> judge('avg("eu", "boot_ms") < 900', counts)
Judgement(holds=False, numbers='avg("eu", "boot_ms") is not known: no device has told it')
"""

from controller.domain.condition.judge import Judgement, judge
from controller.domain.condition.parser import DEPTH_MAX, LENGTH_MAX, ConditionFault, parse
from controller.domain.condition.tree import STATES, Condition, Counts, Told, outputs_of, stages_of
from protocol.ids import StageName

__all__ = [
    "DEPTH_MAX",
    "LENGTH_MAX",
    "STATES",
    "Condition",
    "ConditionFault",
    "Counts",
    "Judgement",
    "StageName",
    "Told",
    "judge",
    "outputs_of",
    "parse",
    "stages_of",
]
