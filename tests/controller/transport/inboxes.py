"""An inbox that keeps what it is given, for any way in."""

from collections.abc import Collection

from controller.app.errors import StorageUnavailable
from tests.controller.edge.world import FakeInbox


class RecordingInbox(FakeInbox):
    """Also keeps of which partitions the transport lost sight, and fails to as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[list[int]] = []
        self.lost_failures = 0

    async def lost_sight(self, partitions: Collection[int]) -> None:
        if self.lost_failures:
            self.lost_failures -= 1
            raise StorageUnavailable("the disk is full")
        self.lost.append(sorted(partitions))

    @property
    def unseen(self) -> set[int]:
        """All partitions that the transport lost sight of."""
        return {partition for partitions in self.lost for partition in partitions}
