"""An inbox that keeps what it is given, for any way in."""

from collections.abc import Collection, Sequence

from controller.app.errors import StorageUnavailable
from controller.app.ports import Disposition, Uplinked
from protocol.ids import Name
from tests.controller.edge.world import FakeInbox


class RecordingInbox(FakeInbox):
    """Also keeps of which partitions the transport lost sight, and fails to as the test says.

    `stored` counts all that came, `first` is that without what came again, in order: kept as it comes, since whoever
    waits for a flood to end looks often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[list[int]] = []
        self.lost_failures = 0
        self.stored = 0
        self.first: dict[tuple[Name, bytes], None] = {}

    async def receive(self, batch: Sequence[Uplinked]) -> Sequence[Disposition]:
        answers = await super().receive(batch)
        self.stored += len(batch)
        self.first.update(dict.fromkeys((message.name, message.payload) for message in batch))
        return answers

    async def lost_sight(self, partitions: Collection[int]) -> None:
        if self.lost_failures:
            self.lost_failures -= 1
            raise StorageUnavailable("the disk is full")
        self.lost.append(sorted(partitions))

    @property
    def unseen(self) -> set[int]:
        """All partitions that the transport lost sight of."""
        return {partition for partitions in self.lost for partition in partitions}
