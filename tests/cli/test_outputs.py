"""Outputs destroy nothing: a file of another kind, a link, a pipe and a device stay what they are."""

import os
import shutil
from pathlib import Path

import pytest

TRACE = ("trace", "made/run", "--puzzles", 2, "--splits", "test", "--device", "cpu", "--threads", 1, "--out")
PUZZLES = ("puzzles", "sudoku", "--size", 4, "-n", 2, "--out")
PICTURE = ("puzzles", "sudoku", "--size", 4, "--picture")
COMPARE = ("compare", "bank.safetensors", "--policies", "q", "--draws", 10, "--out")


@pytest.fixture
def here(made, tmp_path, monkeypatch) -> Path:
    shutil.copytree(made, tmp_path / "made")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "name", "kind"),
    [
        (TRACE, "made/run/config.json", "a trace bank"),
        (TRACE, "made/run/checkpoints/step-0000002/model.safetensors", "a trace bank"),
        (PUZZLES, "made/run/metrics.jsonl", "a CSV of puzzles"),
        (PUZZLES, "notes.csv", "a CSV of puzzles"),
        (PICTURE, "notes.png", "a PNG picture"),
    ],
)
def test_a_file_of_another_kind_is_not_replaced(hrm_rl, here, words, name, kind) -> None:
    if name.startswith("notes"):
        Path(name).write_text("mine")
    content = Path(name).read_bytes()
    refusal = hrm_rl(*words, name).refusal
    assert refusal == f"hrm-rl: {name} exists and is not {kind}; name another file, or remove it first"
    assert Path(name).read_bytes() == content


@pytest.mark.parametrize("words", [TRACE, PUZZLES, PICTURE])
def test_a_folder_without_permission_is_refused_before_the_work(hrm_rl, here, monkeypatch, words) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert hrm_rl(*words, "a.png").refusal.startswith("hrm-rl: a.png: no permission to write in the folder")


def test_a_file_of_the_kind_or_an_empty_one_is_replaced(hrm_rl, here) -> None:
    for words, name in ((TRACE, "bank.safetensors"), (PUZZLES, "puzzles.csv"), (PICTURE, "boards.png")):
        Path(name).touch()
        for _ in range(2):
            assert hrm_rl(*words, name).code == 0
    for _ in range(2):
        assert hrm_rl(*COMPARE, "report").code == 0
    Path("report/compare.md").write_text("mine")
    assert "not a report of hrm-rl compare" in hrm_rl(*COMPARE, "report").refusal
    assert Path("report/compare.md").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("words", [TRACE, PUZZLES, PICTURE])
def test_links_stay_and_pipes_and_devices_are_refused(hrm_rl, here, words) -> None:
    os.mkfifo("pipe.png")
    os.symlink("pipe.png", "to-pipe.png")
    os.symlink("/dev/null", "to-null.png")
    os.symlink("/proc/self/fd/1", "to-stdout.png")
    for name in ("pipe.png", "to-pipe.png", "to-null.png", "to-stdout.png", "/dev/null"):
        if words is PICTURE and name == "/dev/null":
            continue
        assert f"{name} is not a file on a disk" in hrm_rl(*words, name).refusal
    assert Path("pipe.png").is_fifo() and Path("/dev/null").is_char_device()
    Path("folder").mkdir()
    os.symlink("folder/target.png", "link.png")
    for _ in range(2):
        assert hrm_rl(*words, "link.png").code == 0
        assert os.readlink("link.png") == "folder/target.png" and Path("folder/target.png").stat().st_size


@pytest.mark.parametrize("name", ["notes.txt", "compare/notes.md", "checkpoints/step-0000002/notes", "link"])
def test_a_quickstart_removes_only_what_one_wrote(hrm_rl, here, name) -> None:
    run = here / "made" / "run"
    (run / ".quickstart").touch()
    (run / name).parent.mkdir(exist_ok=True)
    if name == "link":
        os.symlink(here / "made" / "model4", run / name)
    else:
        (run / name).write_text("mine")
    before = sorted(here.rglob("*"))
    assert f"{run} holds {name}, which no quickstart wrote" in hrm_rl("quickstart", "--out", run).refusal
    assert sorted(here.rglob("*")) == before
