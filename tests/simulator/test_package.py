import tarfile
from pathlib import Path

import msgspec
import pytest

from agent.installers.manifest import Manifest
from simulator.package import build, example


def test_the_same_version_always_makes_the_same_bytes(tmp_path: Path) -> None:
    first = build(example("harbour"), "1.0.0", out=tmp_path / "a")
    second = build(example("harbour"), "1.0.0", out=tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.sha256, first.length) == (second.sha256, first.path.stat().st_size)
    assert build(example("harbour"), "1.0.1", out=tmp_path).sha256 != first.sha256


def test_the_archive_has_a_manifest_of_its_version_and_lacks_what_was_left_out(tmp_path: Path) -> None:
    package = build(example("harbour"), "1.1.0", out=tmp_path, left_out={"harbours.json"})
    with tarfile.open(package.path) as tar:
        assert tar.getnames() == ["app.json", "service.py"]
        file = tar.extractfile("app.json")
        assert file is not None
        manifest = msgspec.json.decode(file.read(), type=Manifest)
    assert (manifest.name, manifest.version) == ("harbour", "1.1.0")


def test_a_missing_example_says_where_examples_are() -> None:
    with pytest.raises(FileNotFoundError, match="from a checkout"):
        example("nothing")
