"""Errors of the wire, by whose fault: everything here is the peer's.

```
ProtocolError
├── MalformedMessage   bytes that are not what they claim to be
├── UntrustedMessage   well-formed, but signed by nobody we trust
└── InvalidName        an identifier outside its alphabet or length
```
"""

__all__ = ["InvalidName", "MalformedMessage", "ProtocolError", "UntrustedMessage"]


class ProtocolError(Exception):
    """Root of all errors of this package."""


class MalformedMessage(ProtocolError):
    """The bytes are not a message of the expected form; the text says what was expected."""


class UntrustedMessage(ProtocolError):
    """The envelope carries no valid signature by a key that may sign this type."""


class InvalidName(ProtocolError, ValueError):
    """An identifier breaks its alphabet or length; the text names the rule."""
