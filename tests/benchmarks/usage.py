"""What a round of installs came to, and what it cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """So many installs in so many seconds of wall clock, and the CPU seconds that the server's process took."""

    installs: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Return installs a second."""
        return self.installs / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Return the server's milliseconds of CPU for one install."""
        return self.cpu_seconds * 1_000 / self.installs
