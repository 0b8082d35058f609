"""The model card says what the run has recorded, and leaves out what it has not."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import torch

from hrm_rl.model import PuzzleModel, make_model
from hrm_rl.puzzles import PuzzleArrays
from hrm_rl.puzzles.files.dataset import write_dataset
from hrm_rl.training.config import Layer, resolve
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.report.model_card import last_validation, model_card
from hrm_rl.training.report.release import push_run
from hrm_rl.training.run_folder import RunFolder


def make_run(path, *lines: dict, step: int = 40, preset: str = "sudoku-4x4", **tables) -> RunFolder:
    values = {"model": {"hidden_size": 32}, "batch_size": 8, "max_steps": 50}
    found = resolve(Layer(values | tables, preset)).preset
    model = dataclasses.replace(found.model, forward_dtype="float32")
    found = dataclasses.replace(found, model=model)
    run = RunFolder(path)
    run.create(found, Compute())
    torch.manual_seed(0)
    run.save(step, make_model(model), {})
    run.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def validation(step: int, accuracy: float) -> dict:
    figures = {"exact_accuracy": accuracy, "valid_accuracy": 0.75, "cell_accuracy": 0.9}
    figures |= {"mean_segments": 2.345, "max_segments": 8, "count": 256, "seconds": 1.0}
    return {"step": step, **{f"eval/{k}": v for k, v in figures.items()}}


def test_the_card_has_what_the_run_recorded(tmp_path) -> None:
    run = make_run(tmp_path / "run", validation(20, 0.25), {"step": 40, "train/loss": 1}, validation(40, 0.5))
    card = model_card(run, "some-one/small")
    front, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card, re.S).groups()
    assert front.splitlines()[0] == "library_name: hrm_rl"
    assert "- sudoku" in front and "license" not in front
    parameters = run.load_model()[0].num_parameters()
    for words in (
        "# small\n",
        f"of {parameters:,} parameters for 4x4 Sudoku",
        "for 40 steps",
        'from_pretrained("some-one/small")',
        "after 40 steps, on puzzles of classes that training never saw",
        "| puzzles solved exactly | 50.0 % |",
        "| segments taken, mean | 2.35 |",
        "| puzzles | 256 |",
        "stop when q_halt > q_continue",
        "20,000 generated puzzles (seed 0), minimal ones with 0 to 2 extra givens",
        "never share a class",
        "| `hidden_size` | 32 |",
        "| steps | 40 of 50 |",
        "hrm_rl 0.",
        "the author adds `license:`",
    ):
        assert words in body, words


def test_no_validation_no_figures(tmp_path) -> None:
    run = make_run(tmp_path / "run", {"step": 10, "train/loss": 1.0})
    assert last_validation(run, 40) is None
    card = model_card(run, "a/b")
    assert "## Figures" not in card and "%" not in card


@pytest.mark.parametrize("value", [None, "x", [], {}, float("nan"), 10**400])
def test_damaged_figures_of_the_log_are_left_out(tmp_path, value) -> None:
    whole = validation(20, 0.25)
    damaged = [validation(30, 0.5) | {f"eval/{name}": value} for name in ("exact_accuracy", "count")]
    run = make_run(tmp_path / "run", whole | {"eval/valid_accuracy": value}, *damaged, {"step": value})
    found = last_validation(run, 40)
    assert found is not None and found["step"] == 20 and "valid_accuracy" not in found
    assert "25.0 %" in model_card(run, "some-one/small")


def test_figures_belong_to_the_checkpoint(tmp_path) -> None:
    """Not to steps that a killed run logged after it; half a line is passed over."""
    run = make_run(tmp_path / "run", validation(40, 0.1), validation(40, 0.2), validation(60, 0.9))
    with run.metrics_file.open("a") as file:
        file.write('{"step": 40, "eval/exact_acc')
    found = last_validation(run, 40)
    assert found is not None and (found["step"], found["exact_accuracy"]) == (40, 0.2)


@pytest.mark.parametrize(
    ("learner", "rule", "words"),
    [
        ({"q_target": "none"}, "q-halt:0", ["stop when q_halt > 0"]),
        ({"halting_loss": "act", "act_cost": 0.03}, "act:0.99", ["| ponder cost | 0.03 |"]),
        ({"halting_loss": "ponder", "ponder_prior": 0.4}, "ponder:0.5", ["PonderNet's loss"]),
    ],
)
def test_the_card_of_a_run_trained_otherwise(tmp_path, learner, rule, words) -> None:
    card = model_card(make_run(tmp_path / "run", validation(40, 0.5), learner=learner), "a/b")
    for text in (f'rule="{rule}"', f"Halting: `{rule}`, stop when", *words):
        assert text in card, text
    assert "halting_loss" not in learner or not ("Q-learning" in card or "Q target" in card)


def test_a_file_of_puzzles_goes_by_its_name(tmp_path, monkeypatch) -> None:
    run = make_run(tmp_path / "run", validation(40, 0.5))
    preset, compute = run.config()
    secret = str(tmp_path / "secret" / "mine.csv")
    data = dataclasses.replace(preset.data, file=secret)
    run.store(dataclasses.replace(preset, data=data), compute)
    card = model_card(run, "a/b")
    assert "`mine.csv`" in card and "secret" not in card
    assert "that training never saw" not in card
    pushed = {}
    monkeypatch.setattr(PuzzleModel, "push_to_hub", lambda self, repo_id, **o: pushed.update(o) or "url")
    assert push_run(run, "a/b", private=True) == "url"
    assert pushed["private"] and pushed["files"]["README.md"] == card
    assert "learned.npy" not in pushed["files"]
    run.store_learned(np.arange(3, dtype=np.uint64))
    push_run(run, "a/b")
    assert pushed["files"]["learned.npy"] == (run.path / "learned.npy").read_bytes()
    stored = json.loads(pushed["files"]["run.json"])
    assert (stored["preset"]["data"]["file"], stored["step"]) == ("mine.csv", 40)


def test_the_weights_it_started_from_go_by_their_name(tmp_path, monkeypatch) -> None:
    first = make_run(tmp_path / "secret", model={"hidden_size": 32, "puzzle_emb_ndim": 8})
    start = {"init": str(first.path), "init_ids": "reset", "learner": {"train_only": "puzzle-embedding"}}
    run = make_run(tmp_path / "run", model={}, **start)
    card = model_card(run, "a/b")
    words = "for 40 steps, starting from the weights of `secret@40` with a fresh puzzle embedding"
    assert f"{words}, of which only the puzzle embedding learned. It thinks" in card
    assert str(tmp_path) not in card
    pushed = {}
    monkeypatch.setattr(PuzzleModel, "push_to_hub", lambda self, repo_id, **o: pushed.update(o) or "url")
    push_run(run, "a/b")
    assert json.loads(pushed["files"]["run.json"])["preset"]["init"] == "secret@40"
    preset, compute = run.config()
    run.store(dataclasses.replace(preset, init="owner/name@v2"), compute)
    assert "weights of `owner/name@v2` with" in model_card(run, "a/b")


def test_the_card_of_another_architecture(tmp_path) -> None:
    card = model_card(make_run(tmp_path / "run", preset="sudoku-4x4-trm"), "a/b")
    for text in ("- tiny-recursive-model\n", "A [Tiny Recursive Model](https://arxiv.org/abs/2510.04871) of"):
        assert text in card, text


def test_other_families_say_what_they_are(tmp_path) -> None:
    run = make_run(tmp_path / "run", validation(40, 0.5), preset="prefix-parity")
    card = model_card(run, "a/b")
    for text in (
        "- prefix-parity\n",
        "parameters for prefix-parity (length=16 min_length=4), trained",
        "20,000 generated puzzles (seed 0).\n\nTwo puzzles are of one class",
    ):
        assert text in card, text
    assert "udoku" not in card and "symmetry is applied" not in card


def test_puzzles_of_no_family_need_no_folder_any_more(tmp_path) -> None:
    tokens = np.arange(1, 9).repeat(3).reshape(8, 3)
    pool = PuzzleArrays(tokens, tokens, np.arange(8), np.zeros(8))
    write_dataset(tmp_path / "tokens", pool, vocab_size=9)
    folder = {"family": "own", "file": str(tmp_path / "tokens")}
    run = make_run(tmp_path / "run", validation(40, 0.5), data=folder)
    shutil.rmtree(tmp_path / "tokens")
    card = model_card(run, "a/b")
    assert "parameters for puzzles, trained" in card and "dataset folder `tokens`" in card
    assert "tokens`, at most 20,000 groups" in card and "--data FOLDER" in card
    assert f"{tmp_path}" not in card and "- own" not in card and "symmetr" not in card
