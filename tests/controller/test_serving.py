"""Who holds an installation."""

from pathlib import Path

import pytest

from controller.app.errors import Conflict, StorageUnavailable
from controller.serving import sole_controller


def test_one_controller_holds_an_installation(tmp_path: Path) -> None:
    with sole_controller(tmp_path) as holds:
        assert holds()
        with pytest.raises(Conflict, match="another controller"), sole_controller(tmp_path):
            pass
    with sole_controller(tmp_path) as holds:
        assert holds()


def test_it_is_held_no_more_when_it_was_moved_away_or_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    with sole_controller(folder) as holds:
        folder.rename(tmp_path / "away")
        assert not holds()
        folder.mkdir()
        with sole_controller(folder) as others:
            assert (holds(), others()) == (False, True)


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="cannot write"), sole_controller(tmp_path / "nowhere"):
        pass
