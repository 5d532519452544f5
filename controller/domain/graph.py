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
    depth: dict[StageName, int] = {}
    for name in TopologicalSorter(needs).static_order():
        depth[name] = max((depth[need] + 1 for need in needs[name]), default=0)
    return tuple(sorted(needs, key=depth.__getitem__))
