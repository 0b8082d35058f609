"""Training, judging and recording puzzles that are no Sudokus, generated and from dataset folders."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from family_cases import SMALL

from hrm_rl.cli import main
from hrm_rl.halting import TraceBank
from hrm_rl.model import HRM
from hrm_rl.puzzles import PuzzleArrays, maze, prefix_parity
from hrm_rl.puzzles.files.dataset import write_dataset
from hrm_rl.puzzles.life import Life
from hrm_rl.puzzles.prefix_parity import PrefixParity
from hrm_rl.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def config(small) -> Path:
    return small("prefix-parity")


@pytest.fixture(scope="module")
def parity(config) -> Path:
    """A run on prefix parity; to be read only."""
    run = config.parent / "run"
    assert main(["train", "--config", str(config), "--out", str(run), "--json"]) == 0
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset folder of tokens of no family, with identifiers."""
    rng = np.random.default_rng(0)
    pools = []
    for first in (1, 31):
        ids = np.repeat(np.arange(first, first + 30), 2)
        tokens = rng.integers(1, 9, (60, 7))
        pools.append(PuzzleArrays(tokens, tokens, ids, rng.random(60)))
    path = tmp_path_factory.mktemp("folders") / "tokens"
    write_dataset(path, *pools, vocab_size=9)
    return path


@pytest.mark.parametrize("puzzles", ["life", "folder"])
def test_a_relation_bias_is_trained_kept_and_judged(hrm_rl, config, folder, tmp_path, puzzles) -> None:
    run, words = tmp_path / "run", ["--data.family", "life", "--data.dials", "size=4 steps=1"]
    if puzzles == "folder":
        shutil.copytree(folder, tmp_path / "related")
        relations = np.tri(7, dtype=int) + np.tri(7, k=-1, dtype=int)
        np.save(tmp_path / "related" / "relations.npy", relations)
        words = ["--data.family", "custom", "--data", tmp_path / "related"]
    words += ["--model.relation-bias", "True", "--model.pos-encodings", "rope", "--out", run, "--json"]
    assert hrm_rl("train", "--config", config, *words).json["steps"] == 2
    assert hrm_rl("train", "--out", run, "--resume", "--max-steps", 3, "--json").json["steps"] == 3
    model = HRM.from_pretrained(run)
    classes = {"life": 10, "folder": 3}[puzzles] + model.config.prefix_len
    assert len(model.relation_bias.weight) == classes
    assert hrm_rl("eval", run, "--puzzles", 5, "--json").json["count"] == 5
    if puzzles == "life":
        words[3:4] = ["size=5 steps=1"]
        larger = tmp_path / "larger"
        words[-2] = larger
        assert hrm_rl("train", "--config", config, *words, "--init", run).json["steps"] == 2
        prefix = HRM.from_pretrained(larger).config.prefix_len
        table = HRM.from_pretrained(larger).relation_bias.relations[prefix:, prefix:]
        assert np.array_equal(table, Life(5).relations)
    else:
        np.save(tmp_path / "related" / "relations.npy", relations.T)
        refused = hrm_rl("train", "--config", config, *words[:-2], tmp_path / "other", "--init", run).refusal
        assert "related in another way" in refused and not (tmp_path / "other").exists()
        np.save(tmp_path / "related" / "relations.npy", relations[:6])
        refused = hrm_rl("train", "--config", config, *words[:-2], tmp_path / "again").refusal
        assert "relations.npy" in refused and "must be [7, 7]" in refused


@pytest.mark.parametrize("family", [name for name in SMALL if name != "sudoku"])
def test_every_family_trains_is_judged_and_recorded(hrm_rl, config, tmp_path, family) -> None:
    dials = " ".join(f"{name}={value}" for name, value in SMALL[family].items())
    run, words = tmp_path / "run", ("--data.family", family, "--data.dials", dials)
    assert hrm_rl("train", "--config", config, "--out", run, *words, "--json").json["steps"] == 2
    resumed = hrm_rl("train", "--out", run, "--resume", "--max-steps", 3, "--json").json
    assert resumed["steps"] == 3
    found = hrm_rl("eval", run, "--puzzles", 5, "--json").json
    assert found["count"] == 5 and found["valid_accuracy"] >= found["exact_accuracy"]
    hrm_rl("trace", run, "--puzzles", 3, "--out", tmp_path / "bank", "--json").json  # noqa: B018
    bank = TraceBank.load(tmp_path / "bank")
    assert bank.counts() == {"validation": 3, "test": 3} and np.isfinite(bank.rating).all()
    (source,) = set(bank.source)
    assert source.startswith(family.replace("-", "_") + "-v") and "seed" not in source
    replayed = hrm_rl("eval", run, "--bank", tmp_path / "bank", "--json").json
    assert replayed["agree_segments"] == replayed["agree_correct"] == 1
    kind = RunFolder(run).config()[0].data.kind
    for split in ("validation", "test"):
        inputs = bank.in_split(split).inputs
        assert len(kind.rows_of(inputs, split)) == len(inputs)


def test_solve_takes_a_maze_and_no_bits(hrm_rl, parity, config_of, tmp_path) -> None:
    HRM(config_of(4, vocab_size=6, seq_len=25)).save_pretrained(tmp_path / "maze")
    question = maze.to_text(maze.generate(1, 5, perfect=True).inputs[0])
    found = hrm_rl("solve", tmp_path / "maze", question, "--json").json
    solution = maze.check_puzzle(maze.parse(question), 5)
    assert (found["puzzle"], found["solution"]) == (question, maze.to_text(solution))
    answer = maze.parse(found["answer"].replace(".", " "))
    assert found["correct"] == maze.is_valid(maze.parse(question), answer, 5)
    assert "segments." in hrm_rl("solve", tmp_path / "maze", question).out
    refusal = hrm_rl("solve", parity, "0101").refusal
    assert f"{parity} solves prefix-parity (length=16 min_length=4)" in refusal


def test_a_folder_of_a_family_trains_and_evaluates(hrm_rl, config, tmp_path) -> None:
    made = [
        prefix_parity.generate(count, seed=count, split=split, length=10)
        for count, split in ((50, None), (6, "test"))
    ]
    write_dataset(tmp_path / "bits", *made, vocab_size=3)
    data = ("--data", tmp_path / "bits")
    run = tmp_path / "run"
    words = ("--data.dials", "length=10 min_length=10", *data)
    hrm_rl("train", "--config", config, "--out", run, *words, "--json").json  # noqa: B018
    assert RunFolder(run).config()[0].data.file == str(tmp_path / "bits")
    assert hrm_rl("eval", run, *data, "--json").json["count"] == 6
    held_out = PrefixParity(10).rows_of(made[0].inputs, "validation")
    asked = hrm_rl("eval", run, *data, "--split", "validation", "--json").json
    assert asked["count"] == len(held_out)
    bank = tmp_path / "bank"
    found = hrm_rl("trace", run, *data, "--out", bank, "--json").json
    assert found["puzzles"] == {"validation": len(held_out), "test": 6}
    assert set(TraceBank.load(bank).source) == {"bits"}
    assert hrm_rl("eval", run, "--puzzles", 3, "--json").json["count"] == 3  # generated


def test_puzzles_of_no_family_from_start_to_end(hrm_rl, config, folder, tmp_path) -> None:
    run, data = tmp_path / "run", ("--data", folder)
    words = ("--data.family", "custom", *data, "--model.puzzle-emb-ndim", 16)
    hrm_rl("train", "--config", config, "--out", run, *words, "--json").json  # noqa: B018
    model = RunFolder(run).load_model()[0].config
    assert (model.vocab_size, model.seq_len, model.num_puzzle_identifiers) == (9, 7, 61)
    assert hrm_rl("eval", run, *data, "--json").json["count"] == 60
    found = hrm_rl("trace", run, *data, "--out", tmp_path / "bank", "--json").json
    bank = TraceBank.load(tmp_path / "bank")
    assert found["puzzles"]["test"] == 60 and 0 < found["puzzles"]["validation"] < 60
    assert bank.puzzle_identifiers.max() == 60 and np.isfinite(bank.rating).all()
    # The folder that it learned from is the run's own, where none is named.
    assert hrm_rl("eval", run, "--json").json["data"] == str(folder)
    held_out = hrm_rl("eval", run, "--split", "validation", "--json").json
    assert held_out["count"] == found["puzzles"]["validation"]
    again = hrm_rl("trace", run, "--out", tmp_path / "b", "--json").json
    assert again["puzzles_hash"] == found["puzzles_hash"]
    few = ("--draws", 20, "--policies", "q", "--json")
    (compared,) = hrm_rl("compare", run, "--out", tmp_path / "out", *few).json["banks"]
    assert TraceBank.load(compared["file"]).header.puzzles_hash == found["puzzles_hash"]
    assert hrm_rl("train", "--resume", "--out", run, "--max-steps", 3, "--json").json["steps"] == 3


def test_the_stored_folder_may_be_relative_or_gone(hrm_rl, config, folder, tmp_path, monkeypatch) -> None:
    shutil.copytree(folder, tmp_path / "own")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    words = ("train", "--config", config, "--data.family", "custom", "--data")
    said = hrm_rl(*words, "own", "--out", "relative")
    assert "Trained prefix-parity on puzzles of family custom for 2 steps" in said.out
    assert "hrm-rl eval relative" in said.out
    assert "prefix-parity on puzzles of family custom: " in said.err
    assert hrm_rl(*words, tmp_path / "own", "--out", "absolute").code == 0
    said = hrm_rl("eval", "relative")
    assert said.code == 0 and f"Puzzles of own in {tmp_path}, which relative learned" in said.err
    monkeypatch.chdir(elsewhere)
    assert hrm_rl("eval", tmp_path / "absolute").code == 0
    refusal = hrm_rl("eval", tmp_path / "relative").refusal
    assert "of 7 cells and 9 tokens" in refusal and "--data" in refusal
    assert f"the dataset folder own, which is not in {elsewhere}" in refusal
    shutil.rmtree(tmp_path / "own")
    out = ("--out", elsewhere / "bank")
    refusal = hrm_rl("trace", tmp_path / "absolute", *out).refusal
    assert f"the dataset folder {tmp_path / 'own'}, which is not there" in refusal


def test_what_does_not_fit_is_named(hrm_rl, config, parity, folder, made, tmp_path) -> None:
    out = ("--out", tmp_path / "run")
    words = ("train", "--config", config, *out)
    assert "tokens/train has 7 cells and 9 tokens" in hrm_rl(*words, "--data", folder).refusal
    refusal = hrm_rl("eval", parity, "--data", folder).refusal
    assert "other dials, or another family (hrm-rl train learns" in refusal  # eval has no such option
    assert "--data.family custom" in refusal
    assert "puzzles4.csv" in hrm_rl("eval", parity, "--data", made / "puzzles4.csv").refusal
    assert "not a dial of prefix-parity" in hrm_rl(*words, "--data.dials", "size=3").refusal
    assert not (tmp_path / "run").exists()
