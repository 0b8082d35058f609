"""A run goes on from what is left of it: an older checkpoint, or its settings."""

import json
import shutil
from pathlib import Path

import pytest

STEPS = ("--max-steps", 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory, request) -> Path:
    """A run with checkpoints at steps 1 and 2."""
    from hrm_rl.cli import main

    small = request.getfixturevalue("small")("sudoku-4x4")
    folder = tmp_path_factory.mktemp("recovery") / "run"
    words = ["train", "--config", small, "--validate-every", 1, "--log-every", 1, "--out", folder]
    assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def damage(file: Path, content: bytes | None) -> None:
    file.unlink() if content is None else file.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content"),
    [("model.safetensors", b"half"), ("state.safetensors", b""), ("config.json", None), ("config.json", b"")],
)
def test_an_older_checkpoint_is_used_where_the_newest_is_damaged(hrm_rl, copy, file, content) -> None:
    damage(copy / "checkpoints" / "step-0000002" / file, content)
    said = hrm_rl("eval", copy, "--puzzles", 2, "--json")
    assert said.json["step"] == (2 if file == "state.safetensors" else 1)
    named = "The newest whole checkpoint is step-0000001"
    assert (named in said.err) == (file != "state.safetensors")
    said = hrm_rl("train", "--resume", "--out", copy, *STEPS, "--json")
    assert said.json["steps"] == 4 and file in said.err and named in said.err
    names = sorted(path.name for path in (copy / "checkpoints").iterdir())
    assert names == ["step-0000002.damaged", "step-0000003", "step-0000004"]
    steps = [line.split(",")[0] for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps[-1] == '{"step": 4'


def test_without_a_whole_checkpoint_the_newest_is_named(hrm_rl, copy) -> None:
    for state in copy.glob("checkpoints/*/state.safetensors"):
        state.write_bytes(b"")
    message = hrm_rl("train", "--resume", "--out", copy, *STEPS).refusal
    assert "step-0000002/state.safetensors is damaged" in message and "--init" in message
    assert len(list(copy.glob("checkpoints/step-*[0-9]"))) == 2


def test_a_run_stopped_before_its_first_checkpoint_starts_over(hrm_rl, copy, run, small) -> None:
    shutil.rmtree(copy / "checkpoints")
    resumes = "hrm-rl train --resume --out"
    assert resumes in hrm_rl("eval", copy).refusal
    again = hrm_rl("train", "--config", small("sudoku-4x4"), "--out", copy).refusal
    assert "or --resume to start it over" in again
    assert "cannot change" in hrm_rl("train", "--resume", "--out", copy, "--seed", 3).refusal
    said = hrm_rl("train", "--resume", "--out", copy, "--json")
    assert "starts from the beginning" in said.err and said.json["steps"] == 2
    weights = "checkpoints/step-0000002/model.safetensors"
    assert (copy / weights).read_bytes() == (run / weights).read_bytes()
    stored = [json.loads((path / "config.json").read_text())["preset"] for path in (run, copy)]
    assert stored[0] == stored[1]
    again = hrm_rl("train", "--config", small("sudoku-4x4"), "--out", copy).refusal
    assert "or --resume to continue it" in again


def test_what_a_killed_start_leaves_is_not_in_the_way(hrm_rl, tmp_path, small) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.77.partial").touch()
    said = hrm_rl("train", "--config", small("sudoku-4x4"), "--out", tmp_path / "run", "--json")
    assert said.json["steps"] == 2
