"""Every test of the use cases runs on both stores: a controller cannot tell one from the other."""

import pytest

from controller.store.inline_store import InlineStore
from simulator.memory.store import MemoryStore
from tests.controller.app.rig import Rig


@pytest.fixture(autouse=True, params=[InlineStore, MemoryStore])
def either_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rig, "make_store", request.param)
