"""The stage graph: circles and order. Works on names alone.

>>> find_cycle({"a": ("b",), "b": ("a",), "c": ()})
('a', 'b', 'a')
>>> in_order({"rest": ("eu", "us"), "eu": ("canary",), "us": ("canary",), "canary": ()})
('canary', 'eu', 'us', 'rest')
"""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from protocol.ids import StageName

Needs = Mapping[StageName, tuple[StageName, ...]]


def find_cycle(needs: Needs) -> tuple[StageName, ...]:
    """Return one circle of stages that need each other, first and last the same, or nothing."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle: tuple[StageName, ...] = tuple(reversed(error.args[1]))
        least = min(range(len(circle) - 1), key=circle.__getitem__)
        turned = circle[least:-1] + circle[:least]
        return (*turned, turned[0])
    return ()


def in_order(needs: Needs) -> tuple[StageName, ...]:
    """Return the stages so that each comes after what it needs; ties keep their written order.

    The graph must be free of circles; see `find_cycle`.
    """
    placed: list[StageName] = []
    waiting = list(needs)
    while waiting:
        ready = [name for name in waiting if all(need in placed for need in needs[name])]
        assert ready, "the graph has a circle"
        placed += ready
        waiting = [name for name in waiting if name not in ready]
    return tuple(placed)
