"""`hrm-rl trace`, and `hrm-rl eval --bank`."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from hrm_rl.cli import main
from hrm_rl.halting import TraceBank
from hrm_rl.halting.bank.replay import replay
from hrm_rl.halting.fit.linear import fit_lsm
from hrm_rl.puzzles import sudoku


@pytest.fixture(scope="module")
def bank_file(made, tmp_path_factory) -> Path:
    """A bank of the tiny run; to be read only."""
    file = tmp_path_factory.mktemp("banks") / "bank.safetensors"
    words = ["trace", made / "run", "--out", file, "--puzzles", 6, "--batch-size", 5]
    assert main([str(word) for word in words]) == 0
    return file


def test_a_bank_of_the_runs_kind(hrm_rl, made, tmp_path) -> None:
    words = ("trace", made / "run", "--puzzles", 7, "--seed", 3, "--json")
    found = hrm_rl(*words, "--out", tmp_path / "bank").json
    bank = TraceBank.load(tmp_path / "bank")
    assert found["puzzles"] == bank.counts() == {"validation": 7, "test": 7}
    assert found["max_segments"] == bank.num_segments == 3
    assert found["model_hash"] == bank.header.model_hash
    assert found["puzzles_hash"] == bank.header.puzzles_hash
    assert found["bytes"] == (tmp_path / "bank").stat().st_size
    for split, share in found["exact_accuracy"].items():
        assert share == bank.in_split(split).correct[:, -1].mean()
    header = bank.header
    assert (header.preset, header.step, header.trained_rule) == ("tiny", 2, "q")
    assert set(header.seconds_per_segment) == {"1", "14"}
    assert set(bank.source) == {"sudoku-4x4+4..8"} and np.isfinite(bank.rating).all()
    assert bank.pooled_z_H is None and bank.drafts is None
    keys = sudoku.class_key(bank.inputs, 4)
    for split in ("validation", "test"):
        assert sudoku.in_split(keys[bank.split == split], split).all()
        seed = 3 + {"validation": 1, "test": 2}[split]
        wanted = sudoku.generate(7, 4, seed=seed, extra_givens=(4, 8), split=split)
        np.testing.assert_array_equal(bank.in_split(split).inputs, wanted.inputs)


def test_another_dtype_than_was_trained_in(hrm_rl, made, tmp_path) -> None:
    words = ("trace", made / "run", "--puzzles", 2)
    hashes = set()
    for dtype in ("float64", "bfloat16"):
        hrm_rl(*words, "--out", tmp_path / dtype, "--dtype", dtype)
        header = TraceBank.load(tmp_path / dtype).header
        assert header.dtype == dtype
        hashes.add(header.model_hash)
    assert len(hashes) == 1
    refused = hrm_rl(*words, "--out", tmp_path / "bank", "--dtype", "int8")
    assert refused.code == 2 and "dtype must be one of" in refused.err and "int8" in refused.err


def test_options(hrm_rl, made, tmp_path) -> None:
    words = ["--puzzles", 2, "--max-segments", 5, "--splits", "train", "--pooled", "--drafts"]
    said = hrm_rl("trace", made / "model4", "--out", tmp_path / "bank", *words)
    assert said.code == 0 and "2 train" in said.out and str(tmp_path / "bank") in said.out
    bank = TraceBank.load(tmp_path / "bank")
    assert bank.counts() == {"train": 2} and bank.num_segments == 5
    assert bank.pooled_z_H is not None and bank.pooled_z_H.shape == (2, 5, 16)
    assert bank.drafts is not None and bank.drafts.shape == (2, 5, 16)
    assert bank.header.preset is None and set(bank.source) == {"sudoku-4x4+0"}


def test_a_files_puzzles_go_where_their_classes_go(hrm_rl, made, tmp_path) -> None:
    puzzles = sudoku.generate(40, 4, seed=5, extra_givens=(0, 8))
    sudoku.write_csv(tmp_path / "some.csv", puzzles, 4)
    keys = sudoku.class_key(puzzles.inputs, 4)
    wanted = {split: sudoku.in_split(keys, split) for split in sudoku.SPLITS}
    assert all(where.any() for where in wanted.values())
    words = ("trace", made / "model4", "--data", tmp_path / "some.csv", "--json")
    for splits in (("validation", "test"), ("train", "validation", "test")):
        out = tmp_path / "bank"
        found = hrm_rl(*words, "--out", out, "--splits", *splits).json
        assert found["puzzles"] == {s: int(wanted[s].sum()) for s in sudoku.SPLITS if s in splits}
        bank = TraceBank.load(out)
        for split in splits:
            there = puzzles.inputs[wanted[split]]
            np.testing.assert_array_equal(bank.in_split(split).inputs, there)
    assert set(bank.source) == {"some"} and np.isnan(bank.rating).all()
    few = hrm_rl(*words, "--out", out, "--puzzles", 1).json
    assert few["puzzles"] == {"validation": 1, "test": 1}


@pytest.mark.parametrize("extra", [(), ("--max-segments", 2), ("--split", "test", "--puzzles", 4)])
def test_live_and_bank_agree(hrm_rl, made, bank_file, extra) -> None:
    for rule in ("q", "random:0.5", "recall(fixed:3)"):
        words = ("--bank", bank_file, "--halting", rule, "--json")
        found = hrm_rl("eval", made / "run", *words, *extra).json
        bank = TraceBank.load(bank_file)
        bank = bank.in_split("test").take(slice(4)) if "--split" in extra else bank
        replayed = replay(bank, rule, max_segments=2 if "--max-segments" in extra else None)
        assert found["agree_segments"] == found["agree_correct"] == 1
        assert found["count"] == len(bank) and found["data"] == str(bank_file)
        assert found["max_segments"] == replayed.max_segments
        assert found["mean_segments"] == replayed.stopped.mean()


def test_a_seed_of_stored_puzzles_changes_nothing(hrm_rl, made, bank_file, tmp_path) -> None:
    for words in (
        ("eval", made / "run", "--bank", bank_file),
        ("eval", made / "run", "--data", made / "puzzles4.csv"),
    ):
        assert (
            f"--seed 4 changes nothing: the puzzles are those of {words[-1]}"
            in hrm_rl(*words, "--seed", 4).err
        )
        assert "changes nothing" not in hrm_rl(*words).err


def test_speedup(hrm_rl, made, bank_file) -> None:
    words = ("--bank", bank_file, "--halting", "fixed:1", "--speedup")
    found = hrm_rl("eval", made / "run", *words, "--json").json
    assert found["promised_speedup"] == 3 and found["speedup"] > 0
    said = hrm_rl("eval", made / "run", *words).out
    assert "12 of 12 puzzles stop" in said and "3.00 times fewer segments" in said
    without = hrm_rl("eval", made / "run", "--puzzles", 3, "--speedup", "--json").json
    assert "agree_segments" not in without and without["promised_speedup"] >= 1


def test_a_rule_fitted_for_another_model_is_refused_live(hrm_rl, made, bank_file, tmp_path) -> None:
    bank = TraceBank.load(bank_file)
    header = dataclasses.replace(bank.header, model_hash="of another model")
    for name, origin in (("own", bank), ("other", dataclasses.replace(bank, header=header))):
        fit_lsm(origin.in_split("validation"), 0.01).save(tmp_path / name)
    words = ("eval", made / "run", "--puzzles", 3, "--json", "--halting")
    assert hrm_rl(*words, f"lsm:{tmp_path / 'own'}").json["count"] == 3
    assert "fitted for model 'of another m'" in hrm_rl(*words, f"lsm:{tmp_path / 'other'}").refusal
    allowed = hrm_rl(*words, f"lsm:{tmp_path / 'other'}", "--allow-mismatch")
    assert allowed.json["count"] == 3


def test_another_models_bank_is_refused(hrm_rl, made, bank_file) -> None:
    words = ("eval", made / "model4", "--bank", bank_file)
    message = hrm_rl(*words).refusal
    assert TraceBank.load(bank_file).header.model_hash[:12] in message
    assert "--allow-mismatch" in message
    assert hrm_rl(*words, "--allow-mismatch", "--json").json["count"] == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-segments", "-1"], "--max-segments must be >= 1"),
        (["--splits", "test", "test"], "each once; got test test"),
        (["--splits", "dev"], "dev"),
        (["--out", "{}/none/bank"], "the folder {}/none does not exist"),
        (["--out", "{}"], "{} is a folder"),
        (["--data", "{}/train.csv"], "no puzzle of a class for validation or test among its 3"),
    ],
)
def test_trace_names_what_is_wrong(hrm_rl, made, tmp_path, words, message) -> None:
    sudoku.write_csv(tmp_path / "train.csv", sudoku.generate(3, 4, split="train"), 4)
    before = sorted(tmp_path.iterdir())
    words = [word.format(tmp_path) for word in words]
    out = [] if "--out" in words else ["--out", tmp_path / "bank"]
    assert message.format(tmp_path) in hrm_rl("trace", made / "run", *out, *words).refusal
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--bank {tmp}/cut", "cut short"),
        ("--bank {tmp}/weights", "weights: a safetensors file, but"),
        ("--bank {tmp}/none", "no bank at"),
        ("--bank {tmp}", "is a folder"),
        ("--bank {bank} --split train", "it has validation, test"),
        ("--bank {bank} --max-segments 4", "1..3"),
        ("--bank {bank} --data {made}/puzzles4.csv", "choose one"),
        ("--bank {bank} --halting oracle", "hindsight"),
        ("--allow-mismatch", "--allow-mismatch goes with --bank"),
    ],
)
def test_eval_names_what_is_wrong_with_a_bank(hrm_rl, made, bank_file, tmp_path, words, message) -> None:
    (tmp_path / "cut").write_bytes(bank_file.read_bytes()[:-100])
    shutil.copy(made / "model4" / "model.safetensors", tmp_path / "weights")
    words = words.format(tmp=tmp_path, bank=bank_file, made=made)
    assert message in hrm_rl("eval", made / "run", *words.split()).refusal


def test_several_trajectories(hrm_rl, made, tmp_path) -> None:
    words = ("--width", 3, "--trajectories", "views+noise:0.1")
    found = hrm_rl("trace", made / "run", "--puzzles", 4, "--out", tmp_path / "bank", *words, "--json").json
    bank = TraceBank.load(tmp_path / "bank")
    assert (found["width"], bank.width, bank.header.trajectories) == (3, 3, "views+noise:0.1")
    assert set(bank.header.seconds_per_segment) == {"1", "3", "8"}
    for rule, width in (("select(fixed:2, vote, 2)", 2), ("select(q, first)", 3)):
        given = ("--halting", rule, "--json")
        live = hrm_rl("eval", made / "run", "--bank", tmp_path / "bank", *given).json
        assert (live["agree_segments"], live["agree_correct"], live["width"]) == (1, 1, width)
        assert live["mean_segments"] == replay(bank, rule).stopped.mean()
    shown = hrm_rl("eval", made / "run", "--puzzles", 4, *words[:2], "--trajectories", "start", *given[:2])
    assert "of at most 3 x 3 segments" in shown.out
    compared = hrm_rl(
        "compare", tmp_path / "bank", "--policies", "select(q, vote)", "--out", tmp_path / "cmp"
    )
    assert compared.code == 0 and "select(q, vote)" in compared.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("eval RUN --halting {select}", "--width K"),
        ("eval RUN --bank BANK --halting {select}", "record more with"),
        ("eval RUN --width 4 --trajectories start", "say which of them answers, as in select(q, first)"),
        ("eval RUN --width 4 --halting {select}", "--width 4 needs --trajectories start"),
        ("eval RUN --bank BANK --width 4 --trajectories start", "those of --bank"),
        ("eval RUN --trajectories start", "--trajectories start needs --width 2 or more"),
        ("eval RUN --halting {select} --speedup", "--speedup times rules that run one trajectory"),
        ("trace RUN --out NEW --width 4 --trajectories strat", "did you mean 'start'"),
        ("trace RUN --out NEW --width 0", "--width must be >= 1"),
        ("trace RUN --out NEW --width 99999999 --trajectories start --puzzles 9", "more than the"),
        ("eval RUN --width 99999999 --trajectories start --halting {select}", "more than the"),
        (
            "compare RUN --policies q {select} --out NEW",
            "a run is recorded with one a puzzle; record several",
        ),
        ("compare BANK --policies {select} --out NEW", "record more with `hrm-rl trace RUN --out BANK"),
    ],
)
def test_trajectories_that_do_not_fit(hrm_rl, made, bank_file, tmp_path, words: str, message: str) -> None:
    places = {"RUN": made / "run", "BANK": bank_file, "NEW": tmp_path / "new", "{select}": "select(q, vote)"}
    refused = hrm_rl(
        *(places.get(word, word.replace("{select}", "select(q, vote)")) for word in words.split())
    )
    assert refused.code == 2 and message in refused.err and len(refused.err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
