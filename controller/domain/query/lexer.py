"""A query's text to tokens, each with its place.

>>> [(token.kind.name, token.text) for token in tokens("model in ['k1']")]
[('NAME', 'model'), ('NAME', 'in'), ('SIGN', '['), ('TEXT', 'k1'), ('SIGN', ']'), ('END', '')]
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

import msgspec

from controller.domain.query.errors import BeyondLimit, InvalidQuery, MisplacedValue, NotAQuery

LENGTH_MAX: Final = 4_000
"""In characters."""
INTEGER_MAX: Final = 2**53 - 1
"""What a double holds exactly: numbers compare as such."""
SHOWN_LENGTH_MAX: Final = 40


class Kind(Enum):
    """What sort of token there is."""

    NAME = auto()
    TEXT = auto()
    NUMBER = auto()
    SIGN = auto()
    END = auto()


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """One token: of a string its value, of all others their text."""

    kind: Kind
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        """Return the token as a message shows it."""
        if self.kind is Kind.END:
            return "the end of the query"
        shown = self.text if len(self.text) <= SHOWN_LENGTH_MAX else f"{self.text[:SHOWN_LENGTH_MAX]}…"
        return f"the text {shown!r}" if self.kind is Kind.TEXT else repr(shown)

    def fault(self, kind: type[InvalidQuery], expected: str, hint: str = "") -> InvalidQuery:
        """Return the error that this token is found where something else is expected."""
        return kind(line=self.line, column=self.column, found=str(self), expected=expected, hint=hint)


_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n\f]+)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>-?[0-9][0-9A-Za-z_.]*)
    |(?P<text>"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')
    |(?P<sign>==|!=|<=|>=|&&|\|\||[][<>!().,])""",
    re.VERBOSE,
)
_WRONG: Final[Mapping[str, str]] = {
    "=": "equality is '=='",
    "&": "both is '&&'",
    "|": "either is '||'",
    '"': "a text ends on its line, with the quote that it begins with",
    "'": "a text ends on its line, with the quote that it begins with",
}
_ESCAPE: Final = re.compile(
    r"""\\(?:(?P<plain>[abfnrtv\\?"'`])
    |[xX](?P<byte>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})
    |(?P<octal>[0-3][0-7]{2})|(?P<bad>.))""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN: Final = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_CODE_MAX: Final = 0x10FFFF
_SURROGATES: Final = range(0xD800, 0xE000)
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)")


def tokens(text: str) -> list[Token]:
    """Return the tokens of a query, an end last.

    Raises:
        InvalidQuery: when something in *text* is no token, or *text* is too long.
    """
    if len(text) > LENGTH_MAX:
        found, expected = f"{len(text)} characters", f"at most {LENGTH_MAX}"
        raise BeyondLimit(line=1, column=1, found=found, expected=expected)
    found_tokens: list[Token] = []
    at, line, line_start = 0, 1, 0
    while at < len(text):
        found_here = _TOKEN.match(text, at)
        if found_here is None:
            raise _unknown(text, at, line=line, column=at - line_start + 1)
        if found_here.lastgroup == "space":
            line += found_here[0].count("\n")
            line_start = found_here.start() + found_here[0].rfind("\n") + 1 if "\n" in found_here[0] else line_start
        else:
            found_tokens.append(_token(found_here, line=line, column=at - line_start + 1))
        at = found_here.end()
    return [*found_tokens, Token(kind=Kind.END, text="", line=line, column=at - line_start + 1)]


def integer_of(token: Token) -> int:
    """Return the value of a number.

    Raises:
        MisplacedValue: when it is no whole number, or too large to be compared exactly.
    """
    if _INTEGER.fullmatch(token.text) is None:
        raise token.fault(MisplacedValue, "a whole number such as 12", "write versions and other text in quotes")
    value = int(token.text)
    if abs(value) > INTEGER_MAX:
        raise token.fault(MisplacedValue, f"a whole number from -{INTEGER_MAX} to {INTEGER_MAX}")
    return value


def _unknown(text: str, at: int, *, line: int, column: int) -> NotAQuery:
    found, hint = repr(text[at]), _WRONG.get(text[at], "")
    return NotAQuery(line=line, column=column, found=found, expected="a field, an operator or a value", hint=hint)


def _token(found: re.Match[str], *, line: int, column: int) -> Token:
    kind = Kind[str(found.lastgroup).upper()]
    token = Token(kind=kind, text=found[0], line=line, column=column)
    return token if kind is not Kind.TEXT else msgspec.structs.replace(token, text=_value(token))


def _value(token: Token) -> str:
    """Return what the text between quotes stands for; escapes are those of CEL."""
    if any(ord(character) in _SURROGATES for character in token.text):
        raise token.fault(MisplacedValue, "text without halves of surrogate pairs")
    return _ESCAPE.sub(lambda escape: _unescaped(escape, token), token.text[1:-1])


def _unescaped(escape: re.Match[str], token: Token) -> str:
    if plain := escape["plain"]:
        return _PLAIN.get(plain, plain)
    if escape["bad"]:
        raise token.fault(NotAQuery, r"an escape such as \" or \n or \u00e9", f"{escape[0]!r} is none")
    hexadecimal = escape["byte"] or escape["short"] or escape["long"]
    code = int(hexadecimal, 16) if hexadecimal else int(escape["octal"], 8)
    if code > _CODE_MAX or code in _SURROGATES:
        raise token.fault(MisplacedValue, "the escape of a character", f"{escape[0]} is none")
    return chr(code)
