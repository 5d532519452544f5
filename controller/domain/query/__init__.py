"""Queries over devices: a subset of the Common Expression Language (CEL), with the meaning stated here.

1. **Two-valued.** A comparison, `in` or method on something that a device does not have is false. ``a != b`` is
   exactly ``!(a == b)``, and so true of a device that has no ``a``.
2. **Labels and facts are text.** They compare with text by code point, and with a whole number as numbers where the
   text is a decimal number such as ``-12`` or ``0.50``, else the comparison is false. A truth value stands for its
   word: ``labels.spare == true`` wants the text ``true``.
3. **Versions compare as versions**: see `versions` for the order. ``app("shop").version`` and ``agent`` are versions;
   so ``==`` holds between ``2.1`` and ``2.1.0``. Methods see the text. Of an app that a device has in several versions,
   any may fit.
4. **Groups form a tree.** ``group("eu")`` holds for members of that group and of all groups below it.
5. `in` is `==` with any of a list. ``model`` and ``device`` are text.

The language differs from CEL where CEL would fail at run time: nothing fails, it is false instead.

>>> tree = parse('labels.region == "eu" && app("shop").version < "2.1" && !(model in ["k1"])')
>>> kiosk = Described(device="kiosk-1", model="k2", labels={"region": "eu"}, apps=(("shop", "2.0.4"),))
>>> matches(tree, kiosk)
True
>>> parse(render(tree)) == tree
True
"""

from controller.domain.query.asked import facts_needed
from controller.domain.query.described import Described
from controller.domain.query.errors import BeyondLimit, InvalidQuery, MisplacedValue, NotAQuery, UnknownName
from controller.domain.query.evaluate import matches
from controller.domain.query.lexer import LENGTH_MAX
from controller.domain.query.parser import DEPTH_MAX, LIST_MAX, NODES_MAX, parse
from controller.domain.query.render import render
from controller.domain.query.tree import Formula
from controller.domain.query.versions import highest, version_key

__all__ = [
    "DEPTH_MAX",
    "LENGTH_MAX",
    "LIST_MAX",
    "NODES_MAX",
    "BeyondLimit",
    "Described",
    "Formula",
    "InvalidQuery",
    "MisplacedValue",
    "NotAQuery",
    "UnknownName",
    "facts_needed",
    "highest",
    "matches",
    "parse",
    "render",
    "version_key",
]
