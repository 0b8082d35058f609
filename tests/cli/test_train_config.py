"""`hrm-rl train` from a config file with overrides, its help and its messages; `hrm-rl push`."""

import json
import re
import shutil
import sys

import pytest

from hrm_rl.cli import main
from hrm_rl.training.config import settings
from hrm_rl.training.run_folder import RunFolder

SMALL = """\
preset = "sudoku-4x4"
batch_size = 4
max_steps = 2
device = "cpu"
dtype = "float32"

[model]
hidden_size = 16
num_heads = 2
halt_max_steps = 2

[data]
train_puzzles = 20
validation_puzzles = 4
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def refused(capsys, *words: object) -> str:
    """The one message of a command line that cannot be run."""
    assert main([str(word) for word in words]) == 2
    message = capsys.readouterr().err
    assert message.startswith("hrm-rl: ") and message.count("\n") == 1
    return message


def test_a_run_from_a_file_and_its_resume(config, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    words = ["train", "--config", str(config), "--out", str(out)]
    assert main([*words, "--learner.lr", "1e-3", "--model.H_cycles", "1", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["steps"] == 2
    assert "lr = 0.001" in said.err and "H_cycles = 1" in said.err
    preset, _ = RunFolder(out).config()
    assert (preset.model.hidden_size, preset.model.H_cycles, preset.learner.lr) == (16, 1, 1e-3)
    assert (out / "config.toml").read_text() in said.err

    # The file says another lr and H_cycles by saying none: the stored ones stay.
    assert main([*words, "--resume", "--max-steps", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 3
    assert RunFolder(out).config()[0].max_steps == 3

    # With a cosine that is longer with it, and with the old one.
    falls = ["--learner.lr-min-ratio", "0.5", "--learner.total-steps", "2"]
    falls += ["--learner.warmup-steps", "1"]
    assert main([*words, *falls, "--out", str(tmp_path / "falls"), "--json"]) == 0
    resumed = ["train", "--out", str(tmp_path / "falls"), "--resume", "--json", "--max-steps"]
    capsys.readouterr()
    assert main([*resumed, "4", "--learner.total-steps", "2"]) == 0
    assert "The schedule goes" not in capsys.readouterr().err
    assert main([*resumed, "8"]) == 0
    (told,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("The schedule")]
    assert told.startswith("The schedule goes from 2 to 8 steps with max_steps: at step 4 the")

    message = refused(capsys, *words, "--resume", "--model.hidden-size", 32)
    assert f"--model.hidden-size cannot change in a resumed run: {out} has 16, got 32" in message
    config.write_text(SMALL.replace("= 16", "= 64"))
    message = refused(capsys, *words, "--resume")
    assert f"{config}: model.hidden_size cannot change" in message

    # What a run stores is a config file that gives it again.
    again = ["train", "--config", str(out / "config.toml"), "--out", str(tmp_path / "again")]
    assert main(again) == 0
    capsys.readouterr()
    assert RunFolder(tmp_path / "again").config()[0] == RunFolder(out).config()[0]


def test_help_shows_every_setting(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    text = " ".join(said.replace("│", " ").split())
    for key, setting in settings().items():
        assert f"--{key.replace('_', '-')} " in text, key
        assert f"{setting.meaning} (default: {setting.default})" in text, key
    for option in ["--config", "--out", "--resume", "--data", "--q-target", "--gradient", "--json"]:
        assert f"{option} " in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learner.lrr", "1"], "did you mean '--learner.lr'?"),
        (["--learner.lr", "fast"], "--learner.lr takes FLOAT, not 'fast'"),
        (["--data.extra-givens", "3"], "--data.extra-givens needs 2 values"),
        (["--learner.optimizer", "sgd"], "--learner.optimizer must be one of adam-atan2, adamw"),
        (["--model.H-cycles", "0"], "--model.H-cycles must be an integer >= 1, got 0"),
        (["--q-target", "some"], "--q-target must be one of full"),
        (["--batch-size", "0"], "--batch-size must be >= 1, got 0"),
        (["--dtype", "half"], "--dtype must be one of auto, float32"),
        (["--data", "nowhere.csv"], "--data: no file at nowhere.csv"),
        (["--config", "nowhere.toml"], "no config file at nowhere.toml"),
    ],
)
def test_a_mistake_is_one_message(capsys, words, message) -> None:
    assert message in refused(capsys, "train", "sudoku-4x4", *words)


def test_a_mistake_in_the_file_is_one_message(config, capsys) -> None:
    config.write_text(SMALL + "\n[learner]\nlearning_rate = 1\n")
    message = refused(capsys, "train", "--config", config)
    assert f"{config}: unknown key learner.learning_rate" in message
    config.write_text(SMALL + "\n[learner\n")
    assert f"{config}, line 16: " in refused(capsys, "train", "--config", config)


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


def test_push_and_eval_by_hub_id(config, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", FakeHub(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    assert "no such repository" in refused(capsys, "eval", "some-one/small")
    run = tmp_path / "run"
    words = ["--q-target", "none", "--max-steps", "1"]
    assert main(["train", "--config", str(config), "--out", str(run), *words]) == 0
    capsys.readouterr()
    assert main(["push", str(run), "some-one/small", "--dry-run"]) == 0
    card = capsys.readouterr().out
    assert card.startswith("---\nlibrary_name: hrm_rl\n") and "some-one/small" in card
    assert not (tmp_path / "hub").exists()
    assert main(["push", str(run), "some-one/small", "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed == {"repo_id": "some-one/small", "url": "https://hub.example/some-one/small"}
    assert (tmp_path / "hub" / "README.md").read_text() == card
    evaluated = []
    for where in ("some-one/small", str(run)):
        assert main(["eval", where, "--puzzles", "5", "--device", "cpu", "--json"]) == 0
        evaluated.append(json.loads(capsys.readouterr().out))
    assert evaluated[0]["halting"] == "q-halt:0"  # the rule it was trained with went along
    for name in ("cell_accuracy", "mean_segments", "count", "step"):
        assert evaluated[0][name] == evaluated[1][name], name


def test_push_names_what_is_wrong(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert f"{tmp_path} is not a run folder" in refused(capsys, "push", tmp_path, "a/b")
