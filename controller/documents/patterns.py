"""Regular expressions of strangers, matched in linear time: the engine below pydantic never goes back.

>>> checker_of("https://.+")("https://shop.example"), checker_of("(a*)*")("a" * 5_000 + "!")
(True, False)
"""

from collections.abc import Callable

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema


def checker_of(pattern: str) -> Callable[[str], bool]:
    """Return what says whether all of a text matches *pattern*.

    Raises:
        ValueError: when it is no regular expression, or one that looks around or refers back.
    """
    try:
        validator = SchemaValidator(core_schema.str_schema(pattern=f"^(?:{pattern})$", regex_engine="rust-regex"))
    except SchemaError as error:
        raise ValueError(
            f"expected a regular expression without look-around and references, found {pattern!r}"
        ) from error

    def matches(text: str) -> bool:
        try:
            validator.validate_python(text)
        except ValidationError:
            return False
        return True

    return matches
