"""Conditional requests (RFC 9110, section 13): tags in answers, and what edits expect in their headers.

>>> expected_of('"3", W/"4"', None).tags
('3',)
>>> expected_of(None, "*")
Expected(is_new=True, is_there=False, tags=())
"""

import re
from typing import Annotated, Final

from fastapi import Depends, Header, Response

from controller.app.conditions import Expected
from controller.app.errors import InvalidRequest, PreconditionRequired

LENGTH_MAX: Final = 1_000
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e]*"'
_TAGS: Final = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
_STRONG: Final = re.compile(r'(?<!W/)"([\x21\x23-\x7e]*)"(?=[ \t]*(?:,|$))')
_NONE: Final = "none"
"""Stands for a list of weak tags alone: If-Match compares strongly, so that they match nothing."""


def expected_of(if_match: str | None, if_none_match: str | None) -> Expected:
    """Return what the headers of an edit expect; everything is as expected where there are none.

    Raises:
        InvalidRequest: when a header is not well-formed, `If-None-Match` is not ``*``, or there are both.
    """
    if if_match is not None and if_none_match is not None:
        raise InvalidRequest("expected one of the headers If-Match and If-None-Match")
    if if_none_match is not None:
        if if_none_match.strip() != "*":
            raise InvalidRequest('If-None-Match: expected *; to change something, send If-Match: "<its ETag>"')
        return Expected(is_new=True)
    if if_match is None:
        return Expected()
    return Expected(is_there=True) if if_match.strip() == "*" else Expected(tags=_tags(if_match.strip()))


def _tags(text: str) -> tuple[str, ...]:
    if len(text) > LENGTH_MAX or _TAGS.fullmatch(text) is None:
        raise InvalidRequest(f'If-Match: expected an ETag in quotes, such as "3", found {text[:60]}')
    return tuple(_STRONG.findall(text)) or (_NONE,)


_IfMatch = Annotated[str | None, Header(description="the `ETag` that the edit was made from, or `*`")]
_IfNoneMatch = Annotated[str | None, Header(description="`*`: only create, change nothing that is there")]


async def _optional(if_match: _IfMatch = None) -> Expected:
    return expected_of(if_match, None)


async def _required(if_match: _IfMatch = None, if_none_match: _IfNoneMatch = None) -> Expected:
    if if_match is None and if_none_match is None:
        raise PreconditionRequired('expected the header If-Match: "<ETag of what you edited>", or If-None-Match: *')
    return expected_of(if_match, if_none_match)


WhatIsExpected = Annotated[Expected, Depends(_required)]
"""Of an edit that may overwrite what somebody else wrote."""
WhatMayBeExpected = Annotated[Expected, Depends(_optional)]
"""Of an act that is carried out without a condition, too."""


def say_tag(response: Response, tag: str) -> None:
    """Set the `ETag` of an answer."""
    response.headers["ETag"] = f'"{tag}"'
