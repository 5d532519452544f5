"""Shares and rates as people write them on the command line."""

from typing import Final

from controller.cli.failures import CliError, ExitCode

RATES_MAX: Final = 12


def share(text: str, option: str) -> float:
    """Return what people write as a percentage, as a share above 0 and below 1.

    Raises:
        CliError: when it is none; it names the *option*.
    """
    found = _percent(text, option) / 100
    if not 0 < found < 1:
        raise CliError(f"{option} {text}: expected more than 0% and less than 100%", code=ExitCode.USAGE)
    return found


def rates(text: str) -> tuple[float, ...]:
    """Return the rates that ``--rates`` gives in percent, joined by commas, as shares from 0 to 1.

    Raises:
        CliError: when one is none, or there are too many.
    """
    found = tuple(_percent(part.strip(), "--rates") / 100 for part in text.split(","))
    if len(found) > RATES_MAX or not all(0 <= rate <= 1 for rate in found):
        raise CliError(f"--rates {text}: expected at most {RATES_MAX}, from 0 to 100", code=ExitCode.USAGE)
    return found


def _percent(text: str, option: str) -> float:
    from controller.documents.units import parse_percent

    try:
        return parse_percent(text)
    except ValueError as error:
        raise CliError(f"{option}: {error}", code=ExitCode.USAGE) from error
