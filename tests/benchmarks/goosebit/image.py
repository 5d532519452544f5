"""A software image as goosebit reads one: an SWUpdate archive, which is a cpio archive with its description first."""

from random import Random
from typing import Final

_MAGIC: Final = "070701"
_ALIGNMENT: Final = 4
_TRAILER: Final = "TRAILER!!!"
_DESCRIPTION: Final = """\
software =
{{
  version = "{version}";
  {model} = {{ hardware-compatibility: [ "{revision}" ]; }};
}};
"""


def image(*, version: str, size_bytes: int, hardware: tuple[str, str], seed: Random) -> bytes:
    """Return an image of *size_bytes*, rounded down to a multiple of 4.

    The format is cpio's portable one without checksums ("new ASCII format", cpio(5)).

    Args:
        version: of the software.
        size_bytes: of the whole image; what the description leaves of it is filled from *seed*.
        hardware: model and revision that it fits.
        seed: where the bytes of its payload come from.
    """
    model, revision = hardware
    description = _DESCRIPTION.format(version=version, model=model, revision=revision).encode()
    head, tail = _member("sw-description", description), _member(_TRAILER, b"")
    room = size_bytes - len(head) - len(tail) - len(_member("payload", b""))
    return head + _member("payload", seed.randbytes(max(0, room - room % _ALIGNMENT))) + tail


def _member(name: str, data: bytes) -> bytes:
    stored = name.encode() + b"\0"
    mode = 0 if name == _TRAILER else 0o100644
    # inode, mode, owner, group, links, time, size, two device numbers twice, length of the name, checksum
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(stored), 0)
    header = _MAGIC + "".join(f"{field:08X}" for field in fields)
    return _padded(header.encode() + stored) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
