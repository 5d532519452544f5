r"""Outputs: what a release tells of itself where it was installed, as names with numbers or short text.

>>> parse_outputs(b'{"boot_ms": 840, "kernel": "6.1"}')
{'boot_ms': 840, 'kernel': '6.1'}
>>> parse_outputs(b'{"boot_ms": [840]}')
Traceback (most recent call last):
protocol.errors.MalformedMessage: outputs: Expected `int | float | str`, got `array` - at `$[...]`
"""

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocol.errors import MalformedMessage
from protocol.units import INTEGER_MAX

OUTPUTS_MAX: Final = 32
OUTPUTS_BYTES_MAX: Final = 4_096
"""The size cap of all outputs of one report together, as JSON."""
OUTPUT_NAME: Final = "[a-z][a-z0-9_-]{0,63}"

OutputName = Annotated[str, Meta(pattern=rf"^{OUTPUT_NAME}$(?!\n)")]
"""What follows ``$`` denies the line end that Python lets pass there."""
OutputValue = (
    Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
    | Annotated[float, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
    | Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)")]
)
"""A number that stays finite in any sum, or text without control characters: it is shown on terminals."""
Outputs = Annotated[Mapping[OutputName, OutputValue], Meta(max_length=OUTPUTS_MAX)]

_decoder: Final[msgspec.json.Decoder[Mapping[str, int | float | str]]] = msgspec.json.Decoder(Outputs)


def parse_outputs(raw: bytes) -> Outputs:
    """Return the outputs that *raw*, a JSON object, holds.

    Raises:
        MalformedMessage: when it is none, or breaks a limit; the text says which.
    """
    if len(raw) > OUTPUTS_BYTES_MAX:
        raise MalformedMessage(f"outputs: more than {OUTPUTS_BYTES_MAX} bytes")
    try:
        outputs = _decoder.decode(raw)
        check_size(outputs)
    except (ValueError, RecursionError) as error:  # msgspec's and Unicode's errors are ValueErrors
        raise MalformedMessage(f"outputs: {error}") from error
    return outputs


def check_size(outputs: Outputs) -> None:
    """Go on only with as many outputs as one report may carry.

    Raises:
        ValueError: when there are too many, or they are too long together.
    """
    if not outputs:
        return
    if len(outputs) > OUTPUTS_MAX:
        raise ValueError(f"{len(outputs)} outputs: expected at most {OUTPUTS_MAX}")
    size_bytes = len(msgspec.json.encode(outputs))
    if size_bytes > OUTPUTS_BYTES_MAX:
        raise ValueError(f"{size_bytes} bytes of outputs: expected at most {OUTPUTS_BYTES_MAX}")
