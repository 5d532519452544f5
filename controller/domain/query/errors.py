"""Why a text is no query, with the place of the fault."""


class InvalidQuery(Exception):
    """Root of the family. `line` and `column` count from 1; `hint` is empty where nothing is to be guessed.

    >>> print(NotAQuery(line=1, column=8, found="'='", expected="an operator", hint="equality is '=='"))
    1:8: found '=', expected an operator; equality is '=='
    """

    def __init__(self, *, line: int, column: int, found: str, expected: str, hint: str = "") -> None:
        """Take the place, what stands there and what should."""
        self.line = line
        self.column = column
        self.found = found
        self.expected = expected
        self.hint = hint
        super().__init__(f"{line}:{column}: found {found}, expected {expected}{hint and '; '}{hint}")


class NotAQuery(InvalidQuery):
    """The text breaks the grammar."""


class UnknownName(InvalidQuery):
    """A field, function or method that there is not."""


class MisplacedValue(InvalidQuery):
    """A value of the wrong kind, or one that can be equal to nothing."""


class BeyondLimit(InvalidQuery):
    """The query is longer, deeper or larger than allowed."""
