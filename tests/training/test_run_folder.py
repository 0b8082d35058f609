import dataclasses
import json
import os
import shutil

import pytest
import torch

from hrm_rl.model import HRM
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.open_run import open_trained
from hrm_rl.training.run_folder import RunFolder

FILES = ("checksums.sha256", "config.json", "model.safetensors", "run.json", "state.safetensors")


@pytest.fixture
def run(tmp_path, preset) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create(preset(), Compute())
    return run


@pytest.fixture
def model(preset) -> HRM:
    return HRM(preset().model)


def names(run) -> list[str]:
    return [path.name for path in run.checkpoints()]


def test_config_is_read_back(tmp_path, preset) -> None:
    compute = Compute(dtype="bfloat16", threads=2)
    (tmp_path / "empty").mkdir()
    for run in (RunFolder(tmp_path / "a" / "b"), RunFolder(tmp_path / "empty")):
        run.create(preset(), compute)
        assert run.config() == (preset(), compute)


def test_the_two_newest_checkpoints_are_kept(run, model) -> None:
    for step in (9, 9_999_999, 10_000_001):  # of which the last is longer
        run.save(step, model, {})
    assert names(run) == ["step-9999999", "step-10000001"]
    assert run.latest().name == "step-10000001" and run.load_model()[1] == 10_000_001
    assert len(list((run.path / "checkpoints").iterdir())) == 2


def test_a_model_is_not_saved_over_a_run(run, model) -> None:
    run.save(3, model, {})
    stored = (run.path / "config.json").read_bytes()
    with pytest.raises(FileExistsError, match="is a run's folder; save the model in another"):
        model.save_pretrained(run.path)
    assert (run.path / "config.json").read_bytes() == stored
    model.save_pretrained(run.path / "export")
    model.save_pretrained(run.path / "export")  # over a model


def log(run, *scores) -> None:
    """Validations as the loop logs them: (step, exact accuracy, cell accuracy)."""
    with run.metrics_file.open("a") as file:
        for step, exact, cell in scores:
            line = {"step": step, "eval/exact_accuracy": exact, "eval/cell_accuracy": cell}
            file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize(
    ("scores", "keep", "kept", "best"),
    [
        ([0.1, 0.9, 0.3, 0.2, 0.4], 2, [2, 4, 5], 2),
        ([0.1, 0.9, 0.3, 0.2, 0.4], 1, [2, 5], 2),
        ([0.1, 0.9, 0.3, 0.2, 0.4], 3, [2, 3, 4, 5], 2),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 2, [4, 5], 5),
        ([1.0, 1.0, 1.0, 1.0, 1.0], 1, [5], 5),  # of equals the newest
        ([0.0, (0.0, 0.8), 0.0, 0.0, 0.0], 1, [2, 5], 2),  # cells decide
        ([0.5, "x", float("nan"), None, 0.4], 1, [1, 5], 1),
        ([], 2, [4, 5], None),
    ],
)
def test_the_newest_and_the_best_checkpoints_are_kept(run, model, scores, keep, kept, best) -> None:
    for step in range(1, 6):
        if scores:
            score = scores[step - 1]
            log(run, (step, *(score if isinstance(score, tuple) else (score, 0.5))))
        run.save(step, model, {}, keep)
    assert names(run) == [f"step-{step:07d}" for step in kept]
    assert run.latest_step() == 5
    named = RunFolder.named(f"{run.path}@best")
    if best is None:
        with pytest.raises(FileNotFoundError, match="name a step: 4, 5"):
            named.load_model()
    else:
        assert named.load_model()[1] == best


def test_a_checkpoint_has_names(run, model) -> None:
    for step in (3, 6):
        log(run, (step, 1 / step, 0.5))
        run.save(step, model, {})
        with torch.no_grad():
            model.lm_head.weight += 1
    for name, step in (
        ("@best", 3),
        ("@3", 3),
        ("@0006", 6),
        ("/@best", 3),
        ("@step-0000006", 6),
        ("/checkpoints/step-0000003", 3),
    ):
        source = f"{run.path}{name}"
        trained = open_trained(source, "cpu")
        assert trained.step == step and trained.preset == run.config()[0], name
        (folder,) = run.path.glob(f"checkpoints/step-*{step}")
        expected = HRM.from_pretrained(folder).lm_head.weight
        for loaded in (trained.model, HRM.from_pretrained(source)):
            assert torch.equal(loaded.lm_head.weight, expected), name
    assert open_trained(run.path, "cpu").step == 6
    odd = run.path.rename(run.path.with_name("run@best"))  # a folder that exists is meant
    assert open_trained(odd, "cpu").step == 6 and open_trained(f"{odd}@3", "cpu").step == 3


def test_stopped_while_writing_leaves_the_older_checkpoint(run, model, monkeypatch) -> None:
    run.save(3, model, {"step": 3})

    def stop(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("hrm_rl.training.run_folder.folder.write_checksums", stop)
        run.save(6, model, {"step": 6})
    (run.path / "checkpoints" / "step-0000006.partial").mkdir(exist_ok=True)  # if it was killed
    assert names(run) == ["step-0000003"]
    assert run.load_state()[0] == {"step": 3}
    run.save(6, model, {"step": 6})
    assert names(run) == ["step-0000003", "step-0000006"]
    assert run.load_state()[0] == {"step": 6}
    assert not list(run.path.rglob("*.partial"))


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o007])
def test_every_file_of_a_checkpoint_has_the_umasks_mode(run, model, umask) -> None:
    before = os.umask(umask)
    try:
        folder = run.save(1, model, {})
    finally:
        os.umask(before)
    modes = {path.name: os.stat(path).st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes) == set(FILES)
    assert set(modes.values()) == {0o666 & ~umask}


def test_checkpoint_holds_the_model_and_is_replaced_by_the_same_step(run, model) -> None:
    run.save(3, model, {"value": 1})
    run.save(3, model, {"value": 2})
    assert run.load_state()[0] == {"value": 2}
    loaded, step = run.load_model()
    assert step == 3 and loaded.config == model.config
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(HRM.from_pretrained(run.path).lm_head.weight, model.lm_head.weight)


def test_a_folder_in_use_is_refused(run, tmp_path, preset) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    for folder, words in (
        (run.path, "already holds a run or a model; choose another"),
        (tmp_path / "other", "not an empty folder"),
        (tmp_path / "other" / "thesis.tex", "not an empty folder"),
    ):
        with pytest.raises(FileExistsError, match=words):
            RunFolder(folder).create(preset(), Compute())
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["thesis.tex"]


def test_no_run_and_no_checkpoint_have_two_errors(tmp_path, run) -> None:
    with pytest.raises(FileNotFoundError, match=r"not a run folder: it has no config.json"):
        RunFolder(tmp_path / "elsewhere").latest()
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        run.latest()


def test_damaged_files_are_named(run, model) -> None:
    for text in ("", "{", "[]", "{}", '{"preset": {}}', '{"preset": 3}', "\xff", '"x"'):
        (run.path / "config.json").write_text(text, encoding="latin-1")
        with pytest.raises(ValueError, match=r"config.json is not a run configuration"):
            run.config()
    file = run.save(3, model, {"a": torch.zeros(1000)}) / "state.safetensors"
    for content in (b"", file.read_bytes()[:500], b"hello", None):
        file.unlink() if content is None else file.write_bytes(content)
        with pytest.raises(ValueError, match=r"state.safetensors is (damaged|missing)"):
            run.load_state()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("compute.threads", -1, "compute.threads must be an integer >= 1, got -1"),
        ("compute.threads", "2", "compute.threads must be an integer, got '2'"),
        ("compute.threads", 100_000, "compute.threads must be an integer >= 1 and <= 4096"),
        ("compute.device", 5, "compute.device must be a string, got 5"),
        ("compute.dtype", "int8", "compute.dtype must be one of float32, "),
        ("compute.matmul_precision", "low", "compute.matmul_precision must be one of highest, "),
        ("compute.compile", "x", "compute.compile must be true or false, got 'x'"),
        ("compute.device_", "cpu", "unknown setting 'compute.device_'; did you mean 'device'?"),
        ("preset.name", 5, "preset.name must be a string, got 5"),
        ("preset.batch_size", 1.5, "preset.batch_size must be an integer, got 1.5"),
        ("preset.batch_size", 1 << 60, "preset.batch_size must be an integer >= 1 and <= "),
        ("preset.ema_decay", None, "preset.ema_decay must be a number, got None"),
        ("preset.data", [], r"preset.data must be an object, got \[\]"),
        ("preset.data.seed", "x", "preset.data.seed must be an integer, got 'x'"),
        ("preset.data.seed", -1, "preset.data.seed must be an integer >= 0, got -1"),
        ("preset.data.extra_givens", 3, "preset.data.extra_givens must be a list of 2 values"),
        ("preset.data.size", 5, "preset.data.size must be 4, 6, 9, got 5"),
        ("preset.learner.betas", [0.9, "b"], "preset.learner.betas must be a number, got 'b'"),
        ("preset.learner.lr", True, "preset.learner.lr must be a number, got True"),
        ("preset.learner.optimizr", "x", "'preset.learner.optimizr'; did you mean 'optimizer'"),
        ("preset.model.hidden_size", 1 << 60, "preset.model.hidden_size must be .* <= 1048576"),
        ("preset.model.hidden_size", 17, "preset.model.hidden_size=17 is not divisible"),
        ("preset.model.expansion", 1e300, "preset.model.expansion must lie in"),
        ("preset.model.H_cycles", 10**7, "preset.model.H_cycles must be .* <= 128"),
    ],
)
def test_a_damaged_setting_is_named_with_its_file(run, key, value, words) -> None:
    file = run.path / "config.json"
    stored = table = json.loads(file.read_text())
    *path, name = key.split(".")
    for part in path:
        table = table[part]
    table[name] = value
    file.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=rf"config.json is not a run configuration: .*{words}"):
        run.config()


def test_a_run_and_its_checkpoints_have_one_configuration(run, model, preset, older) -> None:
    folder = run.save(3, model, {})
    run.check_settings(preset(max_steps=9, log_every=3, keep=4), 3, model.config)
    learner = dataclasses.replace(preset().learner, lr=2e-3)
    with pytest.raises(ValueError, match=r"preset.learner.lr is 0.002, but .*0000003 was made with 0.001"):
        run.check_settings(preset(learner=learner), 3, model.config)
    other = dataclasses.replace(model.config, halt_max_steps=7, forward_dtype="bfloat16")
    for old in (False, True):
        with pytest.raises(ValueError, match=r"preset.model.halt_max_steps is 7, but .*0003 .*with 3"):
            run.check_settings(preset(model=other), 3, model.config)
        if not old:
            older(folder)
    run.check_settings(preset(learner=learner), 3, model.config)


def test_state_of_another_run_does_not_fit(finished, start, tmp_path, older) -> None:
    shutil.copytree(finished, tmp_path / "run")
    file = older(RunFolder(tmp_path / "run").latest())
    for state, words in (
        ([], "holds no training state"),
        ({}, "does not fit this run"),
        ({"weights": {"a": torch.zeros(1)}}, "does not fit this run"),
    ):
        torch.save(state, file)
        with pytest.raises(ValueError, match=words):
            start(tmp_path / "run", resume=True)


class Trap:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_code_in_a_state_is_not_run(run, model, tmp_path, older) -> None:
    with pytest.raises(TypeError, match="a is a Trap"):
        run.save(3, model, {"a": Trap(str(tmp_path / "trap"))})
    older(run.save(3, model, {}), {"a": Trap(str(tmp_path / "trap"))})
    with pytest.raises(ValueError, match=r"state.pt is damaged"):
        run.load_state()
    assert not (tmp_path / "trap").exists()
