"""What all parts of pipeline and job files share, and how one becomes the domain's own data.

Defaults are the domain's; a field's name differs from the domain's only where people write a unit (``10m``).
"""

from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


class Part(BaseModel):
    """What all parts of a file share: unknown fields are faults, and text is never taken for a number."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True, use_attribute_docstrings=True
    )
    renamed: ClassVar[dict[str, str]] = {}
    only_here: ClassVar[frozenset[str]] = frozenset()

    def into(self, kind: type[T], **parts: object) -> T:
        """Make the domain's *kind* from the fields of this part, with *parts* in place of nested ones."""
        names = type(self).model_fields.keys() - self.only_here
        own = {self.renamed.get(name, name): getattr(self, name) for name in names}
        return kind(**{**own, **parts})
