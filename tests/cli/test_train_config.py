"""`hrm-rl train` from a config file with overrides, and its help; `hrm-rl push`."""

import dataclasses
import re
import shutil
import sys

import pytest

from hrm_rl.training.config import settings
from hrm_rl.training.run_folder import RunFolder


@pytest.fixture
def config(small):
    return small("sudoku-4x4")


def test_a_run_from_a_file_and_its_resume(hrm_rl, config, tmp_path) -> None:
    out = tmp_path / "run"
    words = ("train", "--config", config, "--out", out)
    said = hrm_rl(*words, "--learner.lr", "1e-3", "--model.H_cycles", 1, "--json")
    assert said.json["steps"] == 2
    assert "lr = 0.001" in said.err and "H_cycles = 1" in said.err
    preset, _ = RunFolder(out).config()
    assert (preset.model.hidden_size, preset.model.H_cycles, preset.learner.lr) == (16, 1, 1e-3)
    assert (out / "config.toml").read_text() in said.err

    # The file sets neither lr nor H_cycles: the stored ones stay.
    assert hrm_rl(*words, "--resume", "--max-steps", 3, "--json").json["steps"] == 3
    assert RunFolder(out).config()[0] == dataclasses.replace(preset, max_steps=3)

    assert "is at step 3; max_steps must be larger" in hrm_rl(*words, "--resume", "--max-steps", 2).refusal
    assert RunFolder(out).config()[0].max_steps == 3

    said = hrm_rl(*words, "--resume", "--model.hidden-size", 32)
    assert f"--model.hidden-size cannot change in a resumed run: {out} has 16, got 32" in said.refusal
    config.write_text(config.read_text().replace("= 16", "= 64"))
    assert f"{config}: model.hidden_size cannot change" in hrm_rl(*words, "--resume").refusal

    # The stored file gives the same run again.
    assert hrm_rl("train", "--config", out / "config.toml", "--out", tmp_path / "again").code == 0
    assert RunFolder(tmp_path / "again").config()[0] == RunFolder(out).config()[0]


def test_a_longer_resume_stretches_the_schedule_with_a_note(hrm_rl, config, tmp_path) -> None:
    falls = ("--learner.lr-min-ratio", 0.5, "--learner.total-steps", 2)
    words = ("--learner.warmup-steps", 1, "--out", tmp_path / "run")
    assert hrm_rl("train", "--config", config, *falls, *words).code == 0
    resumed = ("train", "--out", tmp_path / "run", "--resume", "--json", "--max-steps")
    said = hrm_rl(*resumed, 4, "--learner.total-steps", 2)
    assert said.json["steps"] == 4 and "The schedule goes" not in said.err
    said = hrm_rl(*resumed, 8).err
    assert "The schedule goes from 2 to 8 steps with max_steps: at step 4 the" in said


def test_help_shows_every_setting(hrm_rl, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as stop:
        hrm_rl("train", "--help")
    assert stop.value.code == 0
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    text = " ".join(said.replace("│", " ").split())
    for key, setting in settings().items():
        assert re.search(rf"--{key.replace('_', '-')}[ ,]", text), key
        assert f"{setting.meaning} (default: {setting.default})" in text, key
    for option in ["--config", "--out", "--resume", "--data", "--q-target", "--gradient", "--json"]:
        assert f"{option} " in text


class FakeHub:
    """A Hub of one repository, in a folder."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def HfApi(self, token=None):
        return self

    def create_repo(self, repo_id, **options):
        return f"https://hub.example/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, self.folder)

    def snapshot_download(self, repo_id, **options):
        if not self.folder.is_dir():
            raise OSError("no such repository")
        return str(self.folder)


def test_push_and_eval_by_hub_id(hrm_rl, config, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    assert "no such repository" in hrm_rl("eval", "some-one/small").refusal
    run = tmp_path / "run"
    words = ("--q-target", "none", "--max-steps", 1)
    assert hrm_rl("train", "--config", config, "--out", run, *words).code == 0
    said = hrm_rl("push", run, "some-one/small", "--dry-run")
    card = said.out
    assert said.code == 0 and card.startswith("---\nlibrary_name: hrm_rl\n")
    assert "some-one/small" in card and not (tmp_path / "hub").exists()
    pushed = hrm_rl("push", run, "some-one/small", "--json").json
    assert pushed == {"repo_id": "some-one/small", "url": "https://hub.example/some-one/small"}
    assert (tmp_path / "hub" / "README.md").read_text() == card
    words = ("--puzzles", 5, "--device", "cpu", "--json")
    remote, local = (hrm_rl("eval", where, *words).json for where in ("some-one/small", run))
    assert remote["halting"] == "q-halt:0"  # the rule it was trained with went along
    for name in ("cell_accuracy", "mean_segments", "count", "step"):
        assert remote[name] == local[name], name
