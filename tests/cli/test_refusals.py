"""Bad input: one short message naming what was given and what would do; exit code 2; nothing written."""

from collections.abc import Callable

import pytest
import torch

from hrm_rl.model import HRM
from hrm_rl.training.presets import PRESETS


def assert_says(message: str, *words: object) -> None:
    for word in words:
        assert str(word) in message, message


@pytest.fixture
def place(made, question, tmp_path) -> Callable[[str], str]:
    """Fills in {made}, {tmp}, {missing}, {nine}, {question} and damaged questions."""
    names = {
        "made": made,
        "nine": made / "model9",
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
        ("solve {nine} {short}", ["80 cells", "81"]),
        ("solve {nine} {long} --json", ["82 cells", "81"]),
        ("solve {made}/model4 {question}", ["81 cells", "4x4", "16"]),
        ("solve {nine} {twice}", ["two 5s in row 1", "column 2"]),
        ("solve {nine} {ambiguous}", ["several solutions", "1 clues"]),
        ("solve {nine} {letter}", ["'x'", "character 41"]),
        # Files and folders.
        ("eval {nine} --data {made}/puzzles4.csv", ["puzzles4.csv", "16", "9x9", "81"]),
        ("eval {made}/run --data {missing}", ["{missing}"]),
        ("train tiny --out {tmp}/run --data {missing}", ["--data: no file at {missing}"]),
        ("eval {missing}", ["{missing}"]),
        ("solve {missing} {question}", ["{missing}"]),
        ("eval {tmp}", ["{tmp}", "config.json"]),
        ("train --resume --out {tmp}", ["{tmp}", "config.json"]),
        ("train tiny --out {made}/run", ["{made}/run", "--resume"]),
        ("train tiny --out {tmp}/run --track wanb", ["unknown tracker 'wanb'; did you mean 'wandb'?"]),
        ("train tiny --out {made}", ["empty folder"]),
        ("import-reference {made}/run --out {made}/run", ["run"]),
        ("eval {made}/run@3", ["{made}/run has no checkpoint '3'; it has 2, best"]),
        ("trace {made}/run@ --out {tmp}/b.safetensors", ["no checkpoint ''"]),
        ("solve {made}/nine@best {question}", ["no model folder at {made}/nine"]),
        ("push {made}/run@7 a/b", ["no checkpoint '7'"]),
        ("push {made}/model4@best a/b", ["model4/config.json is not a run"]),
        ("compare {made}/model9@best --out {tmp}/c", ["{made}/model9@best", "has no checkpoint"]),
        ("push {made}/run ab --dry-run", ["a repository on the Hub is owner/name, got 'ab'"]),
        ("push {tmp} a/b", ["{tmp} is not a run folder"]),
        ("export {made}/run --out {made}", ["{made} already exists and is not an empty folder"]),
        ("export sudoku4x4 --out {tmp}/out", ["sudoku4x4"]),
        ("export {made}/run --out {tmp}/out --dtype int8", ["dtype must be one of float32", "'int8'"]),
        ("export {made}/run --out {tmp}/out --format tflite", ["--format", "onnx", "torch"]),
        ("eval {made}", ["{made} is not a run folder", "it holds {made}/model4, "]),
        (
            "compare {made}/run --out c --policies q,oracle",
            ["unexpected ','", "several rules are given apart"],
        ),
        ("puzzles sudoku --out {tmp}/no/p.csv", ["{tmp}/no"]),
        ("puzzles sudoku --out {tmp} -n 1", ["{tmp}", "is a folder"]),
        # Numbers out of range.
        ("eval {made}/run --puzzles 0", ["puzzles", "0"]),
        ("eval {made}/run --max-segments 0", ["max-segments", "0"]),
        ("eval {made}/run --batch-size 0", ["batch-size", "0"]),
        ("puzzles sudoku --out {tmp}/p.csv -n 0", ["n", "0"]),
        ("puzzles sudoku --out {tmp}/p.csv --size 5", ["size", "5"]),
        ("train tiny --out {tmp}/run --max-steps 0", ["max", "0"]),
        ("train tiny --out {tmp}/run --batch-size -1", ["--batch-size must be >= 1, got -1"]),
        ("train tiny --out {tmp}/run --threads 0", ["--threads must be an integer >= 1, got 0"]),
        ("train tiny --out {tmp}/run --seed -1", ["--seed must be an integer >= 0, got -1"]),
        ("train tiny --out {tmp}/run --model.hidden-size 1048576", ["the weights take", "GB of"]),
        ("train tiny --out {tmp}/run --batch-size 1000000000", ["batch_size 1000000000", "try"]),
        ("eval {made}/run --threads 0", ["threads must be 1..4096, got 0"]),
        ("trace {made}/run --threads -2 --out {tmp}/bank", ["threads must be 1..4096, got -2"]),
        ("compare {made}/run --threads 9999 --out {tmp}/out", ["threads must be 1..4096, got 9999"]),
        (
            "train prefix-parity --out {tmp}/run --model.relation-bias True",
            ["--model.relation-bias needs puzzles whose cells are related", "no relations"],
        ),
        ("bench --rounds 1", ["rounds", "1"]),
        ("eval {made}/run --data {made}/puzzles4.csv --seed -1", ["--seed must be an integer >= 0, got -1"]),
        ("watch {made}/run --number 10000000000", ["--number must be <= 100000, got 10000000000"]),
        (
            "eval {made}/run --width 50000000 --trajectories start --halting select(q,first)",
            ["1,000 puzzles x 50000000 trajectories", "GB of this machine; take fewer"],
        ),
        ("compare {made}/run --out {made}/puzzles4.csv/deep", ["puzzles4.csv is a file, not a folder"]),
        # Names.
        ("eval {made}/run --halting nonsense", ["nonsense", "confidence"]),
        ("eval {made}/run --halting confidense:0.9", ["confidense", "did you mean 'confidence'"]),
        ("solve {nine} {question} --halting no.such.module:Rule", ["no.such.module"]),
        ("train sudoku-4x --out {tmp}/run", ["'sudoku-4x'", "sudoku-4x4", *PRESETS]),
        ("train", ["which preset", *PRESETS]),
        ("puzzles sudoko --out {tmp}/p", ["'sudoko'", "sudoku"]),
        ("eval {made}/run --device cube", ["'cube'"]),
        ("eval {made}/run --graphs yes --device cpu", ["--graphs yes needs a CUDA device", "on cpu"]),
        ("train tiny --out {tmp}/run --graphs yes --device cpu", ["--graphs yes needs a CUDA device"]),
    ],
)
def test_one_short_message_and_nothing_written(hrm_rl, made, tmp_path, place, words, expected) -> None:
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
        words = {"eval": ("eval", made / "model4"), "train": ("train", "tiny", "--out", tmp_path / "run")}
        said = hrm_rl(*words[command], "--data", tmp_path / "bad.csv")
        assert_says(said.refusal, "bad.csv", word)
        assert not (tmp_path / "run").exists()


def test_model_that_solves_no_sudoku(hrm_rl, tmp_path, config_of) -> None:
    HRM(config_of(4, seq_len=10)).save_pretrained(tmp_path)
    assert_says(hrm_rl("eval", tmp_path).refusal, tmp_path, "no Sudoku", "10 cells")


# --- options --------------------------------------------------------------------------------------


def test_quickstart_keeps_the_earlier_one_when_it_cannot_run(hrm_rl, made, tmp_path) -> None:
    (tmp_path / ".quickstart").touch()
    for option in ("--max-steps", "--puzzles"):
        assert_says(hrm_rl("quickstart", "--out", tmp_path, option, 0).refusal, option, ">= 1")
    assert (tmp_path / ".quickstart").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ["which command", "train", "import-reference"]),
        (["trian"], ["trian", "the commands are", "train"]),
        (["eval"], ["eval needs RUN", "hrm-rl eval --help"]),
        (["eval", "run", "--halting"], ["--halting needs a value"]),
        (["eval", "run", "--seeds", "3"], ["--seeds", "did you mean '--seed'?"]),
        (["eval", "run", "--rule", "q"], ["--rule; did you mean '--halting'?"]),
        (["eval", "run", "--steps", "3"], ["unknown or misplaced: --steps (more"]),
        (["eval", "--run", "run"], ["--run; RUN is given without an option"]),
        (["train", "--preset", "tiny"], ["--preset; [PRESET] is given without an option"]),
        (["train", "tiny", "--progress"], ["--progress; did you mean '--no-progress'?"]),
        (["train", "tiny", "--epochs", "3"], ["--epochs; did you mean '--max-steps'?"]),
        (["train", "tiny", "--lr", "1"], ["--lr; did you mean '--learner.lr'?"]),
        (["train", "tiny", "--learning-rate", "1"], ["did you mean '--learner.lr'?"]),
        (["train", "tiny", "--hidden-size", "1"], ["did you mean '--model.hidden-size'?"]),
        (["eval", "run", "--puzzles", "many"], ["--puzzles takes INT, not 'many'"]),
        (["puzzles", "sudoku", "--split", "tset"], ["test, train, validation", "tset"]),
        (["puzzles", "sudoku", "--out", "p", "--extra-givens", "3"], ["--extra-givens", "2"]),
        (["train", "tiny", "--max-step", "3"], ["--max-step", "did you mean '--max-steps'?"]),
        (["train", "tiny", "--learner.gradient", "two"], ["gradient", "one-step", "'two'"]),
        (["train", "tiny", "--learner.lrr", "1"], ["did you mean '--learner.lr'?"]),
        (["train", "tiny", "--learner.learning-rate", "1"], ["did you mean '--learner.lr'?"]),
        (["train", "tiny", "--learner.lr", "fast"], ["--learner.lr takes FLOAT, not 'fast'"]),
        (["train", "tiny", "--data.extra-givens", "3"], ["--data.extra-givens needs 2 values"]),
        (["train", "tiny", "--model.H-cycles", "0"], ["--model.H-cycles must be", ">= 1, got 0"]),
        (["train", "tiny", "--q-target", "some"], ["--q-target must be one of full"]),
        (["train", "tiny", "--dtype", "half"], ["--dtype must be one of auto, float32"]),
        (["train", "--config", "nowhere.toml"], ["no config file at nowhere.toml"]),
        (["solve", "a", "b", "c"], ["c"]),
    ],
)
def test_command_lines_that_cannot_be_parsed(hrm_rl, words, expected) -> None:
    assert_says(hrm_rl(*words).refusal, *expected)


def test_settings_beside_a_checkpoint_are_checked(hrm_rl, config_of, tmp_path) -> None:
    pytest.importorskip("yaml")
    torch.save(HRM(config_of(9)).state_dict(), tmp_path / "step_1")
    for text, *words in (
        ("arch: 3", "all_config.yaml", "arch"),
        ("a: [", "all_config.yaml", "arch"),
        ("arch: {hiden_size: 16}", "step_1", "'hiden_size'", "'hidden_size'"),
        ("arch: {hidden_size: 16, num_heads: 3}", "step_1", "hidden_size=16", "num_heads=3"),
    ):
        (tmp_path / "all_config.yaml").write_text(text)
        out = ("--out", tmp_path / "out")
        assert_says(hrm_rl("import-reference", tmp_path / "step_1", *out).refusal, *words)
        assert not (tmp_path / "out").exists()
