"""An inbox that keeps what it is given, for any way in."""

from collections.abc import Collection

from tests.controller.edge.world import FakeInbox


class RecordingInbox(FakeInbox):
    """Also keeps of which partitions the transport lost sight."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen: list[frozenset[int]] = []
        self.unseen_failures = 0

    async def lost_sight(self, partitions: Collection[int]) -> None:
        if self.unseen_failures:
            self.unseen_failures -= 1
            raise OSError("the disk is full")
        self.unseen.append(frozenset(partitions))

    @property
    def lost(self) -> set[int]:
        """All partitions that the transport lost sight of."""
        return {partition for partitions in self.unseen for partition in partitions}
