"""Give bugs another first seed where their own no longer leads to them, because worlds are drawn in another way now.

>>> source = '''
... @planted("It forgets.", SomeLaw, first_seed=4200)
... def it_forgets(patch): ...
... '''
>>> print(written(source, "it_forgets", 150).strip())
@planted('It forgets.', SomeLaw, first_seed=150)
def it_forgets(patch): ...
>>> print(written(source, "it_forgets", 1).strip())
@planted('It forgets.', SomeLaw)
def it_forgets(patch): ...
"""

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.simulator.planted.planted import Planted

NEAR: Final = 40
"""A bug that is found in so many seeds from the first on needs no first seed of its own."""
STEP: Final = 10


def first_seed_for(seed: int) -> int:
    """Return from where to hunt a bug that *seed* is known to find: from well before it.

    >>> first_seed_for(44), first_seed_for(1_687)
    (1, 1640)
    """
    first = (seed - NEAR) // STEP * STEP
    return first if first > STEP else 1


def reseed(bug: Planted, first_seed: int) -> Path:
    """Write a bug's first seed where the bug is defined, and return that file."""
    path = file_of(bug)
    path.write_text(written(path.read_text(), bug.name, first_seed))
    subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", path], check=True)
    return path


def file_of(bug: Planted) -> Path:
    """Return the file in which a bug is planted."""
    return Path(inspect.getsourcefile(bug.plant) or "")


def written(source: str, name: str, first_seed: int) -> str:
    """Return *source* with another first seed in the decorator of the function *name*; 1 needs no word.

    Its quotes are for the formatter to mend.

    Raises:
        StopIteration: when no planted bug is defined there under that name.
    """
    decorator = next(
        node.decorator_list[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name and node.decorator_list
    )
    assert isinstance(decorator, ast.Call), f"{name} is not planted by a call"
    keywords = [keyword for keyword in decorator.keywords if keyword.arg != "first_seed"]
    if first_seed > 1:
        keywords.append(ast.keyword(arg="first_seed", value=ast.Constant(first_seed)))
    segment = ast.get_source_segment(source, decorator)
    assert segment is not None
    return source.replace(segment, ast.unparse(ast.Call(decorator.func, decorator.args, keywords)), 1)
