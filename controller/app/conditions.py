"""What an editor expects of a thing, so that nobody overwrites what they have not seen.

A *tag* names a version of a thing. An edit says which one it was made from; when the thing is another one by now, the
edit is refused. One that would change nothing is done already, whatever it expects: a request whose answer was lost can
be sent again.

>>> Expected(tags=("3",)).require("3", what="pipeline 'shop'")
>>> Expected(is_new=True).require("3", what="pipeline 'shop'")
Traceback (most recent call last):
controller.app.errors.PreconditionFailed: there is pipeline 'shop' already, at "3": read it, and edit that
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from controller.app.errors import PreconditionFailed
from controller.app.views import JobView, PipelineView, RunView

TAG_BYTES: Final = 10


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must hold for an edit: that the thing is new, that there is one, or that its tag is one of `tags`."""

    is_new: bool = False
    is_there: bool = False
    tags: tuple[str, ...] = ()

    def require(self, tag: str | None, *, what: str) -> None:
        """Go on only when a thing is as expected.

        Args:
            tag: the thing's present tag, None where there is no such thing.
            what: the thing, as the message names it.

        Raises:
            PreconditionFailed: when it is not.
        """
        if tag is None and (self.is_there or self.tags):
            raise PreconditionFailed(f"there is no {what} any more, or none yet")
        if tag is not None and self.is_new:
            raise PreconditionFailed(f'there is {what} already, at "{tag}": read it, and edit that')
        if tag is not None and self.tags and tag not in self.tags:
            raise PreconditionFailed(
                f'{what} was changed meanwhile, it is at "{tag}" now: read it again, and edit that'
            )


ANYTHING: Final = Expected()


def pipeline_tag(view: PipelineView) -> str:
    """Return the tag of a pipeline: its revision."""
    return str(view.revision)


def job_tag(view: JobView) -> str:
    """Return the tag of a job: what is written in it, its triggers included, and not what they or its runs do."""
    return _digest(view.pipeline, view.operation, view.priority, sorted(view.parameters.items()), view.triggers)


def labels_tag(labels: Mapping[str, str]) -> str:
    """Return the tag of a device's labels."""
    return _digest(sorted(labels.items()))


def run_tag(view: RunView) -> str:
    """Return the tag of a run: what it does, and how far; devices that are counted change it not."""
    stages = [(stage.name, stage.state, stage.reason) for stage in view.stages]
    kept_out = sorted({one.model for stage in view.stages for one in stage.gate.models if one.is_quarantined})
    definition = (view.pipeline, view.revision, view.app, view.version, view.salt)
    return _digest(view.id, definition, view.state, view.epoch, view.pause_reasons, stages, kept_out)


def _digest(*parts: object) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[: 2 * TAG_BYTES]
