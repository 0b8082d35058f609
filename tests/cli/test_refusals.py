"""Bad input: one short message naming what was given and what would do; exit code 2; nothing written."""

import json
import shutil

import pytest
import torch

from hrm_rl.training.presets import PRESETS
from hrm_rl.training.run_folder import RunFolder


def assert_says(message: str, *words: object) -> None:
    for word in words:
        assert str(word) in message, message


# --- puzzles given on the command line ------------------------------------------------------------


def test_one_character_short(hrm_rl, nine, question) -> None:
    assert_says(hrm_rl("solve", nine, question[:80]).refusal, "80 characters", "81")
    assert_says(hrm_rl("solve", nine, question + "1", "--json").refusal, "82 characters", "81")


def test_puzzle_of_another_size(hrm_rl, made, question) -> None:
    assert_says(hrm_rl("solve", made / "model4", question).refusal, "81 characters", "4x4", "16")


def test_contradicting_clues(hrm_rl, nine, question) -> None:
    assert_says(hrm_rl("solve", nine, "55" + question[2:]).refusal, "two 5s in row 1", "column 2")


def test_several_solutions(hrm_rl, nine) -> None:
    assert_says(hrm_rl("solve", nine, "1" + "." * 80).refusal, "several solutions", "1 clues")


def test_letters(hrm_rl, nine, question) -> None:
    assert_says(
        hrm_rl("solve", nine, question[:40] + "x" + question[41:]).refusal, "'x'", "character 41"
    )


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


def test_file_of_another_size_than_the_model(hrm_rl, made, nine) -> None:
    data = made / "puzzles4.csv"
    assert_says(
        hrm_rl("eval", nine, "--data", data).refusal, data, "line 2", "16 characters", "9x9", "81"
    )


def test_missing_file(hrm_rl, made, tmp_path) -> None:
    missing = tmp_path / "none.csv"
    assert_says(hrm_rl("eval", made / "run", "--data", missing).refusal, missing)
    assert_says(
        hrm_rl("train", "tiny", "--out", tmp_path / "run", "--data", missing).refusal, missing
    )
    assert list(tmp_path.iterdir()) == []


# --- folders --------------------------------------------------------------------------------------


def test_no_such_folder(hrm_rl, tmp_path, question) -> None:
    for words in (["eval"], ["solve"]):
        arguments = [question] if words == ["solve"] else []
        assert_says(hrm_rl(*words, tmp_path / "none", *arguments).refusal, tmp_path / "none")


def test_folder_that_is_no_run(hrm_rl, tmp_path) -> None:
    assert_says(hrm_rl("eval", tmp_path).refusal, tmp_path, "config.json")
    assert_says(
        hrm_rl("train", "--resume", "--out", tmp_path).refusal, tmp_path, "not a run folder"
    )


def test_run_without_a_checkpoint(hrm_rl, made, tmp_path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    for words in (("eval", tmp_path / "run"), ("train", "--resume", "--out", tmp_path / "run")):
        assert_says(hrm_rl(*words).refusal, tmp_path / "run", "no checkpoint")


def test_output_folder_in_use(hrm_rl, made, tmp_path) -> None:
    before = sorted(p.name for p in made.joinpath("run").rglob("*"))
    assert_says(hrm_rl("train", "tiny", "--out", made / "run").refusal, made / "run", "--resume")
    (tmp_path / "file").touch()
    assert_says(hrm_rl("train", "tiny", "--out", tmp_path).refusal, "not an empty folder")
    assert_says(
        hrm_rl("import-reference", made / "run", "--out", made / "run").refusal, "holds a run"
    )
    assert sorted(p.name for p in made.joinpath("run").rglob("*")) == before


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


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("nonsense", "confidence"),
        ("confidense:0.9", "did you mean 'confidence'"),
        ("fixed:x", "'x' is not a whole number"),
        ("fixed", "fixed:VALUE"),
        ("no.such.module:Rule", "no.such.module"),
    ],
)
def test_halting_rules(hrm_rl, made, question, spec, word) -> None:
    assert_says(hrm_rl("eval", made / "run", "--halting", spec).refusal, spec, word)
    assert_says(hrm_rl("solve", made / "model9", question, "--halting", spec).refusal, spec, word)


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("eval", "--puzzles", "0"),
        ("eval", "--puzzles", "-3"),
        ("eval", "--max-segments", "0"),
        ("eval", "--batch-size", "0"),
        ("puzzles", "-n", "0"),
        ("puzzles", "--size", "5"),
        ("train", "--max-steps", "0"),
        ("train", "--batch-size", "-1"),
        ("quickstart", "--puzzles", "0"),
        ("quickstart", "--max-steps", "0"),
        ("bench", "--rounds", "1"),
    ],
)
def test_numbers_out_of_range(hrm_rl, made, tmp_path, command, option, value) -> None:
    words = {
        "eval": [made / "run"],
        "puzzles": ["sudoku", "--out", tmp_path / "p.csv"],
        "train": ["tiny", "--out", tmp_path / "run"],
        "quickstart": ["--out", tmp_path / "quick"],
        "bench": [],
    }[command]
    message = hrm_rl(command, *words, option, value).refusal
    assert_says(message, option.strip("-").replace("max-steps", "max"), value)
    assert list(tmp_path.iterdir()) == []


def test_quickstart_keeps_the_earlier_one_when_it_cannot_run(hrm_rl, made, tmp_path) -> None:
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / ".quickstart").touch()
    assert hrm_rl("quickstart", "--out", tmp_path / "quick", "--max-steps", 0).refusal
    assert hrm_rl("quickstart", "--out", tmp_path / "quick", "--puzzles", 0).refusal
    assert (tmp_path / "quick" / ".quickstart").exists()


def test_unknown_preset_with_near_matches(hrm_rl, tmp_path) -> None:
    message = hrm_rl("train", "sudoku-4x", "--out", tmp_path / "run").refusal
    assert_says(message, "'sudoku-4x'", "did you mean 'sudoku-4x4'", *PRESETS)
    assert not (tmp_path / "run").exists()


def test_no_preset_at_all(hrm_rl) -> None:
    assert_says(hrm_rl("train").refusal, "which preset", *PRESETS)


def test_unknown_family(hrm_rl, tmp_path) -> None:
    assert_says(
        hrm_rl("puzzles", "sudoko", "--out", tmp_path / "p").refusal, "'sudoko'", "'sudoku'"
    )


def test_graphs_without_a_gpu(hrm_rl, made, tmp_path) -> None:
    said = "--graphs needs a CUDA device; this would compute on cpu"
    run = tmp_path / "run"
    assert said in hrm_rl("train", "tiny", "--out", run, "--graphs", "--device", "cpu").refusal
    assert not run.exists()
    assert said in hrm_rl("eval", made / "run", "--graphs", "--device", "cpu").refusal


@pytest.mark.parametrize("device", ["cube", "cpu:x"])
def test_unknown_device(hrm_rl, made, device) -> None:
    assert_says(hrm_rl("eval", made / "run", "--device", device).refusal, repr(device))


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


# --- writing --------------------------------------------------------------------------------------


def test_puzzles_to_nowhere(hrm_rl, tmp_path) -> None:
    assert_says(
        hrm_rl("puzzles", "sudoku", "--out", tmp_path / "no" / "p.csv").refusal, tmp_path / "no"
    )
    assert_says(
        hrm_rl("puzzles", "sudoku", "--out", tmp_path, "-n", 1).refusal, tmp_path, "is a folder"
    )
    assert list(tmp_path.iterdir()) == []


def test_imports_that_are_none(hrm_rl, made, tmp_path) -> None:
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other")
    for name, words in (
        (made / "puzzles9.csv", ["no PyTorch state dict"]),
        (tmp_path / "other", ["no HRM checkpoint"]),
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
