"""Config files, overrides, resumes: what wins, what follows, and what is refused with which words."""

import dataclasses
import re
from pathlib import Path

import pytest

from hrm_rl.agents import LearnerConfig
from hrm_rl.model import HRMConfig
from hrm_rl.training.config import (
    Layer,
    option,
    read_config,
    resolve,
    resume,
    settings,
    settings_table,
    to_toml,
)
from hrm_rl.training.config.toml import read_settings
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import PRESETS, FamilyData, Preset, SudokuData, find_preset

BASE = 'preset = "sudoku-4x4"\n'
ARC_TASKS = Path(__file__).parents[2] / "puzzles" / "arc_tasks"


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


# --- the list of settings -------------------------------------------------------------------------


def test_every_field_is_a_setting_with_a_meaning() -> None:
    named = {"seed", "device", "dtype", "compile", "sharding", "threads"}
    named |= {f.name for f in dataclasses.fields(Preset)} - {"name", "model", "learner", "data"}
    for kind in (HRMConfig, LearnerConfig, SudokuData, FamilyData):
        table = {HRMConfig: "model", LearnerConfig: "learner"}.get(kind, "data")
        named |= {f"{table}.{f.name}" for f in dataclasses.fields(kind)}
    named -= {"model.forward_dtype", "learner.seed"}  # --dtype and --seed
    assert set(settings()) == named
    assert [key for key, setting in settings().items() if len(setting.meaning) < 10] == []


def test_defaults_are_shown_by_preset() -> None:
    assert settings()["batch_size"].default.startswith("128; sudoku-4x4 256")
    assert settings()["learner.betas"].default == "0.9 0.95"
    assert settings()["device"].default == "auto"
    assert settings()["data.dials"].default.startswith("prefix-parity length=16 min_length=4")


def test_the_table_of_the_docs_has_every_setting() -> None:
    for table in ("", "model", "learner", "data"):
        rows = settings_table(table).splitlines()[2:]
        names = [setting.name for setting in settings().values() if setting.table == table]
        assert [row.split("`")[1] for row in rows] == names
    assert "| `lr` | Learning rate after warm-up. | 0.002; sudoku-6x6" in settings_table("learner")


def test_the_guide_has_the_table_of_every_setting() -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "settings.md"
    if not guide.is_file():
        pytest.skip("runs in a checkout")
    marks = re.findall(r"<!-- table: settings ?(\w*) -->", guide.read_text(encoding="utf-8"))
    assert sorted(marks) == sorted({setting.table for setting in settings().values()})


# --- what wins, and what follows ------------------------------------------------------------------


def test_the_command_line_wins_over_the_file_and_that_over_the_preset(write) -> None:
    file = read_config(write(BASE + "batch_size = 8\nmax_steps = 20\n[learner]\nlr = 1\n"))
    run = resolve(file, Layer({"learner.lr": 0.5}))
    assert (run.preset.batch_size, run.preset.max_steps, run.preset.learner.lr) == (8, 20, 0.5)
    assert run.preset.learner.weight_decay == find_preset("sudoku-4x4").learner.weight_decay
    assert run.given == {"batch_size", "max_steps", "learner.lr"}
    assert resolve(read_config(write(BASE)), Layer({}, "sudoku-6x6")).preset.data.size == 6


def test_some_settings_follow_others_unless_they_are_given() -> None:
    preset = resolve(Layer({"data.size": 6, "max_steps": 77, "seed": 5}, "sudoku-4x4")).preset
    assert (preset.model.vocab_size, preset.model.seq_len) == (8, 36)
    assert (preset.learner.total_steps, preset.learner.seed) == (77, 5)
    values = {"model.hidden_size": 256, "max_steps": 7}
    preset = resolve(Layer(values, "sudoku-extreme")).preset
    assert (preset.model.puzzle_emb_ndim, preset.learner.total_steps) == (256, None)
    values |= {"model.puzzle_emb_ndim": 64, "learner.total_steps": 9}
    preset = resolve(Layer(values, "sudoku-extreme")).preset
    assert (preset.model.puzzle_emb_ndim, preset.learner.total_steps) == (64, 9)


def test_a_model_follows_the_family_and_its_dials() -> None:
    given = {"data.family": "maze", "data.dials": {"size": 5, "perfect": True}}
    preset = resolve(Layer(given, "sudoku-4x4")).preset
    assert preset.data == FamilyData("maze", {"size": 5, "perfect": True}, train_puzzles=20_000)
    assert (preset.model.vocab_size, preset.model.seq_len) == (6, 25)
    back = resolve(Layer({"data.family": "sudoku", "data.size": 6}, "prefix-parity")).preset
    assert back.data == SudokuData(size=6, train_puzzles=20_000) and back.model.seq_len == 36


def test_dials_of_an_earlier_layer_stay(write) -> None:
    """The preset's, a file's and an option's are one table."""
    file = read_config(write('preset = "prefix-parity"\n[data.dials]\nlength = 20\n'))
    run = resolve(file, Layer({"data.dials": {"min_length": 5}}))
    assert run.preset.data.dials == {"length": 20, "min_length": 5}
    again = resolve(read_config(write(to_toml(run.preset, Compute()))))
    assert again.preset.data == run.preset.data and again.preset.model.seq_len == 20
    same, other = (Layer({"data.dials": {"length": length}}) for length in (20, 21))
    assert resume(run.preset, Compute(), "here", same).preset == run.preset
    with pytest.raises(ValueError, match=r"--data.dials cannot change in a resumed run: here has"):
        resume(run.preset, Compute(), "here", other)


def test_other_names_of_settings_are_read(write) -> None:
    """The reference's for dtype and seed, and the learner's `halting` of earlier versions."""
    text = '[model]\nforward_dtype = "bfloat16"\nH_cycles = 3\n[learner]\nseed = 4\nhalting = "act"'
    run = resolve(read_config(write(BASE + text)))
    assert (run.settings.dtype, run.settings.seed) == ("bfloat16", 4)
    assert (run.preset.model.H_cycles, run.preset.learner.halting_loss) == (3, "act")


@pytest.mark.parametrize("name", ["sudoku-4x4", "sudoku-6x6"])
def test_other_ways_to_learn_halting_leave_the_q_targets_out(name) -> None:
    run = resolve(Layer({"learner.halting_loss": "ponder"}, name))
    assert (run.preset.learner.halting_loss, run.preset.learner.q_target) == ("ponder", "full")
    assert find_preset(name).learner.q_target.startswith("subsample")


@pytest.mark.parametrize("name", PRESETS)
def test_a_written_file_resolves_to_the_same_run(write, name, tmp_path) -> None:
    odd = tmp_path / 'a "b" \\ ü\U0001f600.csv'
    if name.startswith("arc-"):  # learns from a folder
        odd.symlink_to(ARC_TASKS, target_is_directory=True)
    else:
        odd.touch()
    values = {"learner.lr": 1e-5, "seed": 3, "learner.q_target": "lambda:0.9", "data.file": str(odd)}
    if isinstance(find_preset(name).data, SudokuData) and not find_preset(name).init:
        values |= {"data.size": 6, "data.extra_givens": (0, 9)}
    preset = resolve(Layer(values, name)).preset
    again = resolve(read_config(write(to_toml(preset, Compute()))))
    model = dataclasses.replace(preset.model, forward_dtype=again.preset.model.forward_dtype)
    assert again.preset == dataclasses.replace(preset, model=model)
    assert (again.settings.device, again.settings.dtype) == ("cpu", "float32")


def test_a_dataset_of_the_hub_is_named(tmp_path, monkeypatch) -> None:
    """A local copy of it comes first."""
    monkeypatch.chdir(tmp_path)
    file = Path("data/maze-30x30-hard-1k/train.csv")
    file.parent.mkdir(parents=True)
    file.touch()
    for name in ("maze-30x30-hard-1k", "sapientinc/maze-30x30-hard-1k"):
        assert resolve(Layer({"data.file": name}, "maze-hard")).preset.data.file == str(file)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[model]\nhiden_size = 3", "key model.hiden_size; did you mean 'model.hidden_size'"),
        ("learning_rate = 1", "unknown key learning_rate; did you mean 'learner.lr'?"),
        ("[learner]\nlearning_rate = 1", "learner.learning_rate; did you mean 'learner.lr'?"),
        ("lr = 1", "unknown key lr; did you mean 'learner.lr'?"),
        ("[model]\nlr = 1", "unknown key model.lr; did you mean 'learner.lr'?"),
        ("batchsize = 1", "unknown key batchsize; did you mean 'batch_size'?"),
        ("[lerner]\nlr = 1", "unknown table [lerner]; did you mean 'learner'?"),
        ("zzz = 1", "unknown key zzz"),
        ("model = 3", "model must be a table, [model], got 3"),
        ("batch_size = 2.5", "batch_size takes INT, not '2.5'"),
        ("batch_size = true", "batch_size takes INT, not 'True'"),
        ("max_steps = 0", "max_steps must be >= 1, got 0"),
        ("[model]\nrelation_bias = 'yes'", "model.relation_bias must be one of False, True; got 'yes'"),
        ("dtype = 'half'", "dtype must be one of auto, float32, bfloat16"),
        ("[model]\nhidden_size = 'big'", "model.hidden_size takes INT, not 'big'"),
        ("[model]\nhidden_size = 97", "model.hidden_size=97 is not divisible by num_heads=4"),
        ("[model]\nnum_heads = 5", "model.num_heads: hidden_size=96 is not divisible"),
        ("[model]\nseq_len = 5", "model.seq_len must be 16 for these puzzles, got 5"),
        ("[learner]\nlr = nan", "learner.lr must be "),
        ("[learner]\nbetas = [0.9]", "learner.betas needs 2 values"),
        ("[learner]\nbetas = [0.9, 0.9, 0.8]", "learner.betas: unknown or misplaced: 0.8"),
        ("[learner]\nbetas = [0.9, 1]", "learner.betas must be two numbers in [0, 1)"),
        ("[learner]\noptimizer = 'sgd'", "learner.optimizer must be one of adam-atan2, adamw"),
        ("[learner]\nq_target = 'some'", "learner.q_target "),
        ("[data]\nsize = 5", "data.size must be 4, 6, 9, got 5"),
        ("[data]\ntrain_puzzles = 0", "data.train_puzzles must be"),
        ("ema_decay = 1", "ema_decay must"),
        ("[data]\ndials = {steps = 6}", "data.dials: steps is not a dial of sudoku; it has size"),
        ("[data]\nfamily = 'maze'\ndials = {size = 2}", "data.dials: "),
        ("[data]\nfamily = 'maze'\nsize = 6", 'maze has dials: use --data.dials "size=6"'),
        ("[data]\nfamily = 'maize'", "data.family: unknown family 'maize'; did you mean 'maze'?"),
        ("[data]\nfamily = 'own'", "data.family "),
        ("[data]\ndials = 'size'", "data.dials takes \"NAME=VALUE ...\", not 'size'"),
        ("[data]\ndials = {size = 'big'}", 'data.dials takes "NAME=VALUE ..."'),
        ("[data]\nextra_givens = [3, 1]", "data.extra_givens must be two numbers, 0 <= least"),
        ("dtype='float32'\n[model]\nforward_dtype='bfloat16'", "model.forward_dtype is 'bfloat16'"),
        ("preset = 'other'", "Cannot overwrite a value"),
    ],
)
def test_a_mistake_in_a_file_is_named(write, text, words) -> None:
    path = write(BASE + text)
    with pytest.raises(ValueError) as caught:
        resolve(read_config(path))
    assert str(caught.value).startswith(str(path)) and words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a = = 1", ", line 1: Invalid value"),
        (b"\na = [1,\n2\n", ", line 3: Unclosed"),
        (b"\xff\xff", ": not UTF-8"),
        (b"seed = 1", "which preset"),
        (b"preset = 3", ": preset must be one of sudoku-4x4"),
        (b"preset = 'sudoku-4'", ": unknown preset 'sudoku-4'; did you mean"),
    ],
)
def test_a_file_without_a_preset_or_a_syntax_is_refused(tmp_path, text, words) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(text)
    with pytest.raises(ValueError) as caught:
        resolve(read_config(path))
    assert words in str(caught.value)
    assert words.startswith("which") or str(caught.value).startswith(f"{path}{words}")


def test_a_mistake_on_the_command_line_names_the_option(write) -> None:
    file = read_config(write(BASE + "[model]\nhidden_size = 90"))
    with pytest.raises(ValueError, match=r"^--model\.num-heads: hidden_size=90 is not divisible"):
        resolve(file, Layer({"model.num_heads": 4}))
    with pytest.raises(ValueError, match=r"^--q-target 'none' is for halting"):
        resolve(Layer({"learner.halting_loss": "act", "learner.q_target": "none"}, "sudoku-4x4"))


# --- resumes --------------------------------------------------------------------------------------


def test_a_resume_may_run_longer_and_log_otherwise() -> None:
    stored = find_preset("sudoku-4x4")
    free = {"max_steps": 3000, "validate_every": 5, "log_every": 2}
    preset = resume(stored, Compute(), "runs/x", Layer(free, "sudoku-4x4")).preset
    assert (preset.max_steps, preset.validate_every, preset.log_every) == (3000, 5, 2)
    assert preset.learner.total_steps == 3000
    assert preset.model == stored.model


def test_a_resume_takes_the_same_file_again(write) -> None:
    stored = resolve(Layer({"seed": 4, "batch_size": 8}, "sudoku-6x6")).preset
    again = resume(stored, Compute(), "runs/x", read_config(write(to_toml(stored, Compute()))))
    assert again.preset == stored
    assert again.settings.seed == 4


def test_a_resume_may_move_to_another_machine(write) -> None:
    """Threads are never stored for another run; a file's device is the stored one, an option's is a wish."""
    stored = Compute("cuda:99", threads=64)
    preset = find_preset("sudoku-4x4")
    file = read_config(write(to_toml(preset, stored)))
    assert "threads" not in file.values
    settings = resume(preset, stored, "runs/x", file).settings
    assert (settings.device, settings.threads) == ("auto", None)
    given = Layer({"device": "cuda:99", "threads": 2})
    settings = resume(preset, stored, "runs/x", file, given).settings
    assert (settings.device, settings.threads) == ("cuda:99", 2)


@pytest.mark.parametrize(
    ("key", "value", "was"),
    [
        ("model.halt_max_steps", 4, 8),
        ("learner.q_target", "none", "'subsample:0.125'"),
        ("data.extra_givens", (0, 1), r"\(0, 2\)"),
        ("batch_size", 8, 256),
        ("seed", 1, 0),
        ("dtype", "bfloat16", "'float32'"),
    ],
)
def test_a_resume_changes_nothing_else(key, value, was) -> None:
    stored = find_preset("sudoku-4x4")
    said = rf"^{option(key)} cannot change in a resumed run: runs/x has {was}, got "
    with pytest.raises(ValueError, match=said):
        resume(stored, Compute(), "runs/x", Layer({key: value}))
    with pytest.raises(ValueError, match="the preset cannot change in a resumed run"):
        resume(stored, Compute(), "runs/x", Layer({}, "sudoku-6x6"))


def test_none_is_a_value_where_a_setting_may_be_none() -> None:
    run = resolve(Layer(read_settings({"data": {"file": None}, "init": None, "threads": None}), "small"))
    assert run.preset.data.file is None and run.settings.threads is None
    with pytest.raises(ValueError, match="max_steps takes INT, not 'None'"):
        read_settings({"max_steps": None})
    with pytest.raises(ValueError, match=r"data must be a table, .* a file of puzzles is data.file"):
        read_settings({"data": "all.csv"})
