"""Datasets by name: a local file, then the Hub (a fake one), then an error with the reason."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from hrm_rl.puzzles import sudoku
from hrm_rl.puzzles.files import hub as hub_datasets


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere.csv"
    sudoku.write_csv(path, sudoku.generate(5, 9), 9)
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets a function stand for the Hub's download."""

    def stand_in(download: Any) -> None:
        module = types.ModuleType("huggingface_hub")
        module.hf_hub_download = download  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "huggingface_hub", module)

    return stand_in


@pytest.mark.parametrize("name", ["sapientinc/sudoku-extreme-1k", "sudoku-extreme-1k"])
def test_downloaded_from_the_hub(hub: Any, file: Path, tmp_path: Path, name: str) -> None:
    asked = []

    def download(*words: str, **options: Any) -> str:
        asked.append((words, options))
        return str(file)

    hub(download)
    table = hub_datasets.load(name, "test", folder=tmp_path / "data", revision="v1")
    assert len(table) == 5 and table.seq_len == 81
    options = {"repo_type": "dataset", "revision": "v1"}
    assert asked == [(("sapientinc/sudoku-extreme-1k", "test.csv"), options)]


def test_a_local_file_comes_first(hub: Any, file: Path, tmp_path: Path) -> None:
    hub(None)
    here = tmp_path / "data" / "sudoku-extreme" / "train.csv"
    here.parent.mkdir(parents=True)
    file.rename(here)
    assert hub_datasets.find("sudoku-extreme", folder=tmp_path / "data") == here
    assert len(hub_datasets.load("sapientinc/sudoku-extreme", folder=tmp_path / "data")) == 5


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (["RepositoryNotFoundError"], r"the Hub has no such dataset \(or it is private"),
        (["LocalEntryNotFoundError", "EntryNotFoundError"], "the Hub cannot be reached, and it is"),
        (["RemoteEntryNotFoundError", "EntryNotFoundError"], "it has no file train.csv"),
        (["ConnectionError"], r"the Hub did not answer \(no route\)"),
    ],
)
def test_a_failed_download_has_its_reason_and_a_remedy(
    hub: Any, tmp_path: Path, kinds: list[str], reason: str
) -> None:
    error: type[Exception] = Exception
    for kind in reversed(kinds):
        error = type(kind, (error,), {})

    def download(*words: str, **options: Any) -> str:
        raise error("no route\nand more lines")

    hub(download)
    place = tmp_path / "data" / "maze-30x30-hard-1k" / "train.csv"
    with pytest.raises(FileNotFoundError, match=reason) as caught:
        hub_datasets.find("maze-30x30-hard-1k", folder=tmp_path / "data")
    message = str(caught.value)
    assert message.startswith("no sapientinc/maze-30x30-hard-1k: ") and "\n" not in message
    assert message.endswith(f"; or place its train.csv at {place}")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(FileNotFoundError, match="pip install huggingface_hub, or place its test"):
        hub_datasets.find("owner/puzzles", "test", folder=tmp_path)


@pytest.mark.parametrize("name", ["puzzles", "a/b/c", "../x", "", "a/..", "/etc"])
def test_names_of_another_form_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a dataset on the Hub is owner/name, got"):
        hub_datasets.find(name)
