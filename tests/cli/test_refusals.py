"""Bad input: one short message naming what was given and what would do; exit code 2; nothing written."""

import json
import shutil
from collections.abc import Callable

import pytest
import torch

from hrm_rl.training.presets import PRESETS
from hrm_rl.training.run_folder import RunFolder


def assert_says(message: str, *words: object) -> None:
    for word in words:
        assert str(word) in message, message


@pytest.fixture
def place(made, nine, question, tmp_path) -> Callable[[str], str]:
    """Fills in {made}, {tmp}, {missing}, {nine}, {question} and damaged questions."""
    names = {
        "made": made,
        "nine": nine,
        "tmp": tmp_path,
        "missing": tmp_path / "none",
        "question": question,
        "short": question[:80],
        "long": question + "1",
        "twice": "55" + question[2:],
        "ambiguous": "1" + "." * 80,
        "letter": question[:40] + "x" + question[41:],
    }
    return lambda text: text.format(**names)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # Puzzles on the command line.
        ("solve {nine} {short}", ["80 characters", "81"]),
        ("solve {nine} {long} --json", ["82 characters", "81"]),
        ("solve {made}/model4 {question}", ["81 characters", "4x4", "16"]),
        ("solve {nine} {twice}", ["two 5s in row 1", "column 2"]),
        ("solve {nine} {ambiguous}", ["several solutions", "1 clues"]),
        ("solve {nine} {letter}", ["'x'", "character 41"]),
        # Files and folders.
        ("eval {nine} --data {made}/puzzles4.csv", ["puzzles4.csv", "line 2", "16", "9x9", "81"]),
        ("eval {made}/run --data {missing}", ["{missing}"]),
        ("train tiny --out {tmp}/run --data {missing}", ["{missing}"]),
        ("eval {missing}", ["{missing}"]),
        ("solve {missing} {question}", ["{missing}"]),
        ("eval {tmp}", ["{tmp}", "config.json"]),
        ("train --resume --out {tmp}", ["{tmp}", "config.json"]),
        ("train tiny --out {made}/run", ["{made}/run", "--resume"]),
        ("train tiny --out {made}", ["empty folder"]),
        ("import-reference {made}/run --out {made}/run", ["run"]),
        ("puzzles sudoku --out {tmp}/no/p.csv", ["{tmp}/no"]),
        ("puzzles sudoku --out {tmp} -n 1", ["{tmp}", "is a folder"]),
        # Numbers out of range.
        ("eval {made}/run --puzzles 0", ["puzzles", "0"]),
        ("eval {made}/run --puzzles -3", ["puzzles", "-3"]),
        ("eval {made}/run --max-segments 0", ["max-segments", "0"]),
        ("eval {made}/run --batch-size 0", ["batch-size", "0"]),
        ("puzzles sudoku --out {tmp}/p.csv -n 0", ["n", "0"]),
        ("puzzles sudoku --out {tmp}/p.csv --size 5", ["size", "5"]),
        ("train tiny --out {tmp}/run --max-steps 0", ["max", "0"]),
        ("train tiny --out {tmp}/run --batch-size -1", ["batch-size", "-1"]),
        ("quickstart --out {tmp}/quick --puzzles 0", ["puzzles", "0"]),
        ("quickstart --out {tmp}/quick --max-steps 0", ["max", "0"]),
        ("bench --rounds 1", ["rounds", "1"]),
        # Names.
        ("eval {made}/run --halting nonsense", ["nonsense", "confidence"]),
        ("eval {made}/run --halting confidense:0.9", ["confidense", "did you mean 'confidence'"]),
        ("eval {made}/run --halting fixed:x", ["'x' is not a whole number"]),
        ("eval {made}/run --halting fixed", ["fixed:VALUE"]),
        ("solve {nine} {question} --halting no.such.module:Rule", ["no.such.module"]),
        ("train sudoku-4x --out {tmp}/run", ["'sudoku-4x'", "sudoku-4x4", *PRESETS]),
        ("train", ["which preset", *PRESETS]),
        ("puzzles sudoko --out {tmp}/p", ["'sudoko'", "sudoku"]),
        ("eval {made}/run --device cube", ["'cube'"]),
        ("eval {made}/run --device cpu:x", ["'cpu:x'"]),
        ("eval {made}/run --graphs --device cpu", ["--graphs needs a CUDA device", "on cpu"]),
        ("train tiny --out {tmp}/run --graphs --device cpu", ["--graphs needs a CUDA device"]),
    ],
)
def test_one_short_message_and_nothing_written(
    hrm_rl, made, tmp_path, place, words, expected
) -> None:
    before = sorted(path.name for path in made.joinpath("run").rglob("*"))
    message = hrm_rl(*place(words).split(" ")).refusal
    assert_says(message, *map(place, expected))
    assert list(tmp_path.iterdir()) == []
    assert sorted(path.name for path in made.joinpath("run").rglob("*")) == before


# --- files of puzzles -----------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["eval", "train"])
def test_damaged_files_name_file_and_line(hrm_rl, made, tmp_path, command) -> None:
    whole = (made / "puzzles4.csv").read_text()
    damaged = {
        "": "is empty",
        whole.splitlines()[0] + "\n": "a header and no puzzle",
        whole[:-25]: "line 7",
        whole.replace("\n", "x\n", 3).replace("x\n", "\n", 2): "line 3",
        "a,b,c\n1,2,3\n": "source,question,answer,rating",
    }
    for text, word in damaged.items():
        (tmp_path / "bad.csv").write_text(text)
        data = ("--data", tmp_path / "bad.csv")
        if command == "eval":
            said = hrm_rl("eval", made / "model4", *data)
        else:
            said = hrm_rl("train", "tiny", "--out", tmp_path / "run", *data)
        assert_says(said.refusal, "bad.csv", word)
        assert not (tmp_path / "run").exists()


def test_run_without_a_checkpoint(hrm_rl, made, tmp_path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    for words in (("eval", tmp_path / "run"), ("train", "--resume", "--out", tmp_path / "run")):
        assert_says(hrm_rl(*words).refusal, tmp_path / "run", "no checkpoint")


def test_indivisible_heads_in_a_models_config(hrm_rl, nine, tmp_path) -> None:
    shutil.copytree(nine, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"num_heads": 3}))
    assert_says(hrm_rl("eval", tmp_path / "model").refusal, file, "hidden_size=16", "num_heads=3")


def test_indivisible_heads_in_a_runs_config(hrm_rl, made, tmp_path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    stored = json.loads(file.read_text())
    stored["preset"]["model"]["num_heads"] = 3
    file.write_text(json.dumps(stored))
    message = hrm_rl("train", "--resume", "--out", tmp_path / "run").refusal
    assert_says(message, file, "hidden_size=16", "num_heads=3")


def test_damaged_checkpoint(hrm_rl, made, tmp_path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    latest = RunFolder(tmp_path / "run").latest()
    state = latest / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    assert_says(hrm_rl("train", "--resume", "--out", tmp_path / "run").refusal, state)
    weights = latest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert_says(hrm_rl("eval", tmp_path / "run").refusal, weights, "damaged")


def test_model_that_solves_no_sudoku(hrm_rl, tmp_path, config_of) -> None:
    from hrm_rl.model import HRM

    HRM(config_of(4, seq_len=10)).save_pretrained(tmp_path)
    assert_says(hrm_rl("eval", tmp_path).refusal, tmp_path, "no Sudoku", "10 cells")


# --- options --------------------------------------------------------------------------------------


def test_quickstart_keeps_the_earlier_one_when_it_cannot_run(hrm_rl, made, tmp_path) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / ".quickstart").touch()
    assert hrm_rl("quickstart", "--out", tmp_path / "quick", "--max-steps", 0).refusal
    assert hrm_rl("quickstart", "--out", tmp_path / "quick", "--puzzles", 0).refusal
    assert (tmp_path / "quick" / ".quickstart").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["which command", "train", "import-reference"]),
        (["trian"], ["trian", "the commands are", "train"]),
        (["eval"], ["eval needs RUN", "hrm-rl eval --help"]),
        (["eval", "run", "--halting"], ["--halting needs a value"]),
        (["eval", "run", "--seeds", "3"], ["--seeds", "did you mean '--seed'?"]),
        (["eval", "run", "--puzzles", "many"], ["--puzzles takes INT, not 'many'"]),
        (["puzzles", "sudoku"], ["puzzles needs --out"]),
        (["puzzles", "sudoku", "--out", "p", "-n", "x"], ["-n", "takes INT, not 'x'"]),
        (
            ["puzzles", "sudoku", "--out", "p", "--split", "tset"],
            ["test, train, validation", "tset"],
        ),
        (["puzzles", "sudoku", "--out", "p", "--extra-givens", "3"], ["--extra-givens", "2"]),
        (["train", "tiny", "--max-step", "3"], ["--max-step", "did you mean '--max-steps'?"]),
        (["train", "tiny", "--learner.gradient", "two"], ["gradient", "one-step", "'two'"]),
        (["solve", "a", "b", "c"], ["c"]),
    ],
)
def test_command_lines_that_cannot_be_parsed(hrm_rl, words, expected) -> None:
    assert_says(hrm_rl(*words).refusal, *expected)


def test_imports_that_are_none(hrm_rl, made, tmp_path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other")
    for name, words in (
        (made / "puzzles9.csv", ["PyTorch state dict"]),
        (tmp_path / "other", ["HRM checkpoint"]),
        (tmp_path / "none", ["no checkpoint at"]),
    ):
        message = hrm_rl("import-reference", name, "--out", tmp_path / "out").refusal
        assert_says(message, name, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arch: 3", ["all_config.yaml", "arch"]),
        ("a: [", ["all_config.yaml", "arch"]),
        ("arch: {hiden_size: 16}", ["'hiden_size'", "'hidden_size'"]),
        ("arch: {hidden_size: 16, num_heads: 3}", ["hidden_size=16", "num_heads=3"]),
    ],
)
def test_settings_beside_a_checkpoint_that_do_not_do(
    hrm_rl, made, tmp_path, config_of, text, words
) -> None:
    pytest.importorskip("yaml")
    from hrm_rl.model import HRM

    torch.save(HRM(config_of(9)).state_dict(), tmp_path / "step_1")
    (tmp_path / "all_config.yaml").write_text(text)
    words = [*words, "step_1"] if "arch: {" in text else words
    said = hrm_rl("import-reference", tmp_path / "step_1", "--out", tmp_path / "out")
    assert_says(said.refusal, *words)
    assert not (tmp_path / "out").exists()


def test_import_of_another_length(hrm_rl, made, tmp_path, config_of) -> None:
    from hrm_rl.model import HRM

    torch.save(HRM(config_of(9)).state_dict(), tmp_path / "step_1")
    words = ("import-reference", tmp_path / "step_1", "--out", tmp_path / "out")
    assert_says(
        hrm_rl(*words, "--seq-len", 80).refusal, "step_1", "embed_pos", "(81, 16)", "(80, 16)"
    )
    assert_says(hrm_rl(*words, "--seq-len", 0).refusal, "seq_len must be an integer >= 1, got 0")
    assert not (tmp_path / "out").exists()
