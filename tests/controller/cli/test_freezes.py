"""What people are told of a freeze."""

from msgspec.structs import replace

from controller.app.views import StandingFreeze
from controller.cli.progress import state_of
from controller.cli.timeline import said
from tests.controller.http.fake import AT, RUN

STANDING = StandingFreeze(name="sale", ends_at=AT, reason="sale week")


def test_a_run_says_until_when_it_is_frozen_by_what_and_why() -> None:
    assert state_of(RUN) == "running"
    assert state_of(replace(RUN, frozen=STANDING)) == ("running, frozen until 2026-01-01T00:00:00Z by sale: sale week")


def test_the_timeline_tells_of_a_freeze() -> None:
    assert said({"kind": "frozen", "data": {"text": "sale: sale week"}}) == "the run stands in freeze sale: sale week"
    assert said({"kind": "thawed", "data": {}}) == "the freeze is over: the run goes on"
