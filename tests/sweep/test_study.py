"""What a study's file describes, and which files are refused."""

import re

import pytest

from hrm_rl.sweep import read_study
from hrm_rl.training.config import read_config, resolve
from hrm_rl.training.config.toml import as_toml


def test_every_case_meets_every_combination_and_seed(write) -> None:
    grid = "[grid]\nlearner.lr = [1e-3, 2e-3]\nmodel.H_cycles = [1, 2]"
    cases = '[[list]]\nlearner.q_target = "none"\n[[list]]\nname = "wide"\nmodel.expansion = 2.0'
    trials = read_study(write("seeds = [3, 5]", f"{grid}\n{cases}")).trials()
    assert len(trials) == 16 and len({trial.name for trial in trials}) == 16
    assert trials[0].name == "q_target=none,H_cycles=1,lr=0.001/seed-3"
    assert trials[7].name == "wide,H_cycles=2,lr=0.002/seed-3"
    assert [trial.seed for trial in trials] == [3] * 8 + [5] * 8
    wide = trials[7]
    assert wide.varied == {"model.expansion": 2.0, "learner.lr": 2e-3, "model.H_cycles": 2}
    assert wide.settings["batch_size"] == 4 and wide.preset == "sudoku-4x4" and wide.max_steps == 4


def test_a_preset_may_vary_and_sets_the_length(write, tmp_path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('[grid]\npreset = ["sudoku-4x4", "sudoku-6x6"]\n')
    trials = read_study(path).trials()
    assert [(trial.group, trial.seed) for trial in trials] == [
        ("preset=sudoku-4x4", 0),
        ("preset=sudoku-6x6", 0),
    ]
    assert [trial.max_steps for trial in trials] == [1500, 2000]


def test_without_grid_and_list_only_the_seed_varies(write) -> None:
    study = read_study(write("seeds = 3"))
    assert [trial.name for trial in study.trials()] == [f"all/seed-{seed}" for seed in range(3)]
    assert [trial.seed for trial in read_study(write("seeds = 3"), [7]).trials()] == [7]


def test_a_trial_s_config_file_resolves_to_the_trial(write, tmp_path) -> None:
    last = '[grid]\ndata.extra_givens = [[0, 2], [1, 3]]\nlearner.q_target = ["subsample:0.25"]'
    for trial in read_study(write("seeds = 2", last)).trials():
        file = tmp_path / "trial.toml"
        file.write_text(as_toml(trial.preset, {**trial.settings, "seed": trial.seed}))
        run = resolve(read_config(file))
        assert run.settings.seed == trial.seed
        assert run.preset.data.extra_givens == trial.varied["data.extra_givens"]
        assert run.preset.learner.q_target == "subsample:0.25"


def test_dials_may_vary(tmp_path) -> None:
    path = tmp_path / "study.toml"
    path.write_text('preset = "prefix-parity"\n[grid]\ndata.dials = [{length = 16}, {length = 12}]\n')
    trials = read_study(path).trials()
    assert [trial.group for trial in trials] == ["dials=length-16", "dials=length-12"]
    file = tmp_path / "trial.toml"
    file.write_text(as_toml(trials[1].preset, trials[1].settings))
    assert resolve(read_config(file)).preset.data.dials["length"] == 12


def test_names_are_folders_short_and_different(write) -> None:
    cases = [f'[[list]]\nname = "{name}"\nlearner.lr = {lr}' for name, lr in [("a/b", 1e-3), ("a b", 2e-3)]]
    cases.append(f'[[list]]\nname = "{"x" * 300}"\nlearner.lr = 3e-3')
    groups = list(read_study(write(last="\n".join(cases))).groups)
    assert groups[0] == "a-b" and groups[1].startswith("a-b-") and len(groups[2]) < 100
    assert all(re.fullmatch(r"[\w.,=+-]+", group) for group in groups)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("seeds = 0", "", "seeds must be a number >= 1 or a list of integers >= 0, got 0"),
        ("seeds = []", "", "got []"),
        ("seeds = [1, 1]", "", "seeds holds 1 twice"),
        ("seeds = [-1]", "", "got [-1]"),
        ("seeds = true", "", "got True"),
        ("seeds = 1000000000000", "[grid]\nlearner.lr=[1.0, 2.0]", "more than 10000 trials"),
        ("seed = 1", "", "seed is of one run; a study has seeds"),
        ("", "[grid]\nlearner.lr = []", "grid.learner.lr is an empty list"),
        ("", "[grid]\nlearner.lr = 1e-3", "grid.learner.lr must be a list of values, got 0.001"),
        ("", "[grid]\nlearner.weigth_decay = [1.0]", "did you mean 'learner.weight_decay'?"),
        ("", "[grid]\nlerner.lr = [1.0]", "unknown table [lerner]; did you mean 'learner'?"),
        ("", '[grid]\nlearner.lr = ["x"]', "learner.lr"),
        ("", "[grid]\nlearner.lr = [1e-3, 0.001]", "grid.learner.lr holds 0.001 twice"),
        ("", "[grid]\nseed = [1, 2]", "a study has seeds"),
        ("", "[grid]\nbatch_size = [8, 16]", "batch_size is given for every trial, and in grid or list too"),
        ("", "[grid]\nlearner.lr = [1.0]\n[[list]]\nlearner.lr = 2.0", "learner.lr is in both grid and list"),
        ("", "[[list]]\nlearner.lr = 2.0\n[[list]]\nlearner.lr = 2.0", "twice"),
        ("", '[[list]]\nname = "a"', "list 1 has no settings"),
        ("", "[[list]]\nname = 1\nlearner.lr = 1.0", "name must be a string, got 1"),
        ("list = 3", "", "list must be tables"),
        ("grid = 3", "", "grid must be a table"),
        ("max_step = 3", "", "unknown key max_step"),
        ("", "[gird]\nlearner.lr = [1.0]", "unknown gird; did you mean 'grid'?"),
        ("log_every = [1, 2]", "", "log_every is a list; values to train each with belong in [grid]"),
        ("=", "", ", line 1"),
    ],
)
def test_a_mistake_is_refused_in_one_line_that_starts_with_the_file(write, first, last, words) -> None:
    path = write(first, last)
    with pytest.raises(ValueError) as error:
        read_study(path).trials()
    message = str(error.value)
    assert message.startswith(str(path)) and words in message and "\n" not in message


def test_a_setting_that_no_run_can_have_is_refused_before_the_first_trial(write) -> None:
    with pytest.raises(ValueError, match=r"learner\.lr"):
        read_study(write(last="[grid]\nlearner.lr = [1e-3, -1.0]")).trials()
    with pytest.raises(FileNotFoundError, match="no study at"):
        read_study("nowhere.toml")
