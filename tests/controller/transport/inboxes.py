"""An inbox that keeps what it is given, for any way in."""

from collections.abc import Collection

from tests.controller.edge.world import FakeInbox


class RecordingInbox(FakeInbox):
    """Also keeps of which partitions the transport lost sight."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen: list[frozenset[int]] = []

    async def lost_sight(self, partitions: Collection[int]) -> None:
        self.unseen.append(frozenset(partitions))

    @property
    def lost(self) -> set[int]:
        """All partitions that the transport lost sight of."""
        return {partition for partitions in self.unseen for partition in partitions}
