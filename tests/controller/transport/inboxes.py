"""An inbox that keeps what it is given, for any way in."""

from tests.controller.edge.world import FakeInbox


class RecordingInbox(FakeInbox):
    """Also knows of which partitions the transport lost sight, in all."""

    @property
    def unseen(self) -> set[int]:
        """All partitions that the transport lost sight of."""
        return {partition for partitions in self.lost for partition in partitions}
