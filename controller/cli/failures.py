"""How commands end: the exit codes, and the one error that carries them.

| code | meaning |
|---|---|
| 0 | done |
| 1 | an error |
| 2 | used wrongly |
| 3 | cancelled, or timed out while waiting |
| 4 | not authenticated, or not allowed |
| 5 | the run ended unsuccessfully, or a broker is not safe |
| 6 | conflict with the state of things |
"""

from collections.abc import Sequence
from enum import IntEnum
from http import HTTPStatus


class ExitCode(IntEnum):
    """What a program that calls us can go by."""

    OK = 0
    ERROR = 1
    USAGE = 2
    CANCELLED = 3
    NOT_ALLOWED = 4
    RUN_FAILED = 5
    UNSAFE = 5
    CONFLICT = 6


class CliError(Exception):
    """A command cannot go on; `details` are shown line by line below the message."""

    def __init__(
        self, message: str, *, code: ExitCode = ExitCode.ERROR, details: Sequence[str] = (), status: int = 0
    ) -> None:
        """Take the message, the exit code, and the HTTP status where the API answered with one."""
        super().__init__(message)
        self.code = code
        self.details = tuple(details)
        self.status = status


def code_of(status: int) -> ExitCode:
    """Return the exit code for an HTTP status that is an error."""
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return ExitCode.NOT_ALLOWED
        case HTTPStatus.CONFLICT | HTTPStatus.PRECONDITION_FAILED:
            return ExitCode.CONFLICT
        case _:
            return ExitCode.ERROR
