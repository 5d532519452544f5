"""Names as parts of an address.

>>> quoted("a b/c")
'a%20b%2Fc'
"""

from urllib.parse import quote

from controller.cli.failures import CliError, ExitCode


def quoted(name: str) -> str:
    """Return a name so that it stays one part of an address, whatever it holds.

    Raises:
        CliError: when it is empty or made of dots, which addresses cannot hold.
    """
    if not name.strip("."):
        raise CliError(f"{name!r} is no name", code=ExitCode.USAGE)
    return quote(name, safe="")
