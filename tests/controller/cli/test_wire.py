"""The API's JSON becomes the views that it was made from, times and all."""

import json

import msgspec
import pytest

from controller.app.views import DeviceView, EventView, RunView, StandingFreeze, TargetView
from controller.cli import wire
from controller.http import schemas
from protocol.units import Instant
from tests.controller.http.fake import AT, COMPARED, DEVICE, EVENT, REST, RUN, TARGET

replace = msgspec.structs.replace

PACED = replace(RUN, stages=(replace(REST, per_minute=30, paced_until=Instant(AT + 2_000)),))
FROZEN = replace(RUN, frozen=StandingFreeze(name="sale", ends_at=AT, reason="sale week"))


@pytest.mark.parametrize(
    ("view", "schema"),
    [
        (RUN, schemas.Run),
        (PACED, schemas.Run),
        (FROZEN, schemas.Run),
        (replace(TARGET, check_at=AT), schemas.Target),
        (replace(TARGET, measures={"read_at": 12.5}, is_paired=True), schemas.Target),
        (replace(RUN, stages=(replace(REST, gate=replace(REST.gate, control=COMPARED)),)), schemas.Run),
        (replace(DEVICE, removed_at=AT), schemas.Device),
        (EVENT, schemas.Event),
        (replace(RUN, parameters={"until": "friday"}), schemas.Run),
        (replace(DEVICE, labels={"sold_at": "the fair"}, facts={"at": "2026-01-01"}), schemas.Device),
    ],
)
def test_a_view_comes_back_as_it_was(
    view: RunView | TargetView | DeviceView | EventView, schema: type[schemas.Answer]
) -> None:
    data = json.loads(schema.model_validate(view).model_dump_json())
    assert wire.view(data, type(view)) == view
