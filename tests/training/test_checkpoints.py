"""Checkpoints by time, whole and checked: what a resume finds, and what it does not take."""

import json
import random
import shutil
from importlib import metadata

import numpy
import pytest
import torch
from safetensors.torch import load_file

from hrm_rl.files import written_whole
from hrm_rl.model import HRM
from hrm_rl.training.config import Layer
from hrm_rl.training.run_folder import RunFolder, version_note
from hrm_rl.training.start import resume_run, start_run

FILES = ("checksums.sha256", "config.json", "model.safetensors", "run.json", "state.safetensors")


class Stopped(Exception):
    """In the place of a kill."""


def lines(folder) -> list[dict]:
    """The log without what a clock decides."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("time/", "eval/seconds", "eval/puzzles_per_second")
    return [{k: v for k, v in line.items() if not k.startswith(timed)} for line in found]


def same_weights(one, other) -> bool:
    first, second = (HRM.from_pretrained(folder).state_dict() for folder in (one, other))
    return all(torch.equal(first[name], second[name]) for name in first)


def stop_after(trainer, steps: int, monkeypatch) -> None:
    """Train until `steps` more steps are done, then stop as a kill does: nothing more is saved."""
    step, done = trainer.envs.step, iter(range(steps))

    def counted(action):
        if next(done, None) is None:
            raise Stopped
        return step(action)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(trainer.envs, "step", counted)
        trainer.train(progress=False)


@pytest.mark.parametrize("kind", [{}, {"ema_decay": 0.0}])
def test_a_checkpoint_by_time_changes_neither_the_run_nor_its_log(start, tmp_path, monkeypatch, kind) -> None:
    plan = {"log_every": 4, "validate_every": 10, "max_steps": 20, "keep": 3} | kind
    whole = start(tmp_path / "whole", **plan)
    whole.train(progress=False)
    often = start(tmp_path / "often", checkpoint_minutes=1e-9, **plan)
    stop_after(often, 7, monkeypatch)
    assert often.run.latest_step() == 7  # off the interval of the log
    resumed = start(tmp_path / "often", resume=True, checkpoint_minutes=1e-9, **plan)
    stop_after(resumed, 6, monkeypatch)
    start(tmp_path / "often", resume=True, **plan).train(progress=False)
    assert lines(tmp_path / "often") == lines(tmp_path / "whole")
    assert same_weights(tmp_path / "often", tmp_path / "whole")


def test_minutes_between_checkpoints(start, tmp_path, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    for minutes, steps in ((2.5, [3, 6, 9, 10, 12]), (0, [10, 12]), (1000, [10, 12])):
        plan = {"validate_every": 10, "max_steps": 12, "keep": 99, "checkpoint_minutes": minutes}
        trainer = start(tmp_path / str(minutes), **plan)
        step = trainer.envs.step

        def timed(action, step=step):
            now[0] += 60
            return step(action)

        monkeypatch.setattr(trainer.envs, "step", timed)
        trainer.train(progress=False)
        assert [int(path.name[5:]) for path in trainer.run.checkpoints()] == steps


# --- damage ---------------------------------------------------------------------------------------


def damage(file, kind: str, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    if kind == "deleted":
        file.unlink()
        return
    if kind == "flipped":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[rng.randrange(len(content)) :]
    elif kind == "empty":
        content.clear()
    elif kind == "zeros":  # as a power cut leaves pages
        begin = rng.randrange(len(content))
        end = rng.randrange(begin, len(content)) + 1
        content[begin:end] = bytes(end - begin) if any(content[begin:end]) else b"\1" * (end - begin)
    elif kind == "longer":
        content += rng.randbytes(rng.randrange(1, 100))
    file.write_bytes(content)


def test_200_of_200_damages_are_found(finished, tmp_path) -> None:
    rng = random.Random(1)
    kinds = ("flipped", "flipped", "flipped", "cut", "empty", "zeros", "longer", "deleted")
    cases = [(FILES[n % 5], kinds[n // 5 % 8]) for n in range(200)]
    good = RunFolder(finished).latest()
    assert sorted(path.name for path in good.iterdir()) == list(FILES)
    run = RunFolder(tmp_path / "run")
    for number, (name, kind) in enumerate(cases):
        shutil.rmtree(run.path, ignore_errors=True)
        copy = shutil.copytree(good, run.path / "checkpoints" / good.name)
        damage(copy / name, kind, rng)
        with pytest.raises(ValueError, match=name) as error:
            run.set_damaged_aside()
        assert "\n" not in str(error.value) and good.name in str(error.value), (number, name, kind)


def test_every_damaged_checkpoint_is_named_and_the_resume_is_exact(start, tmp_path, caplog) -> None:
    plan = {"validate_every": 2, "keep": 9, "max_steps": 8}
    start(tmp_path / "whole", **plan).train(progress=False)
    start(tmp_path / "run", **plan).train(progress=False)
    checkpoints = tmp_path / "run" / "checkpoints"
    (checkpoints / "step-0000008" / "model.safetensors").write_bytes(b"")
    (checkpoints / "step-0000006" / "state.safetensors").unlink()
    (checkpoints / "step-0000008.damaged").mkdir()  # of another day
    resumed = resume_run([], tmp_path / "run")
    assert resumed.learner.step == 4
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    for message, step, file in zip(warned, (8, 6), ("model", "state"), strict=True):
        assert f"step-000000{step}/{file}.safetensors is" in message and "step-0000004." in message
    resumed.train(progress=False)
    names = [path.name for path in sorted(checkpoints.iterdir())]
    assert "step-0000008.damaged-2" in names and "step-0000006.damaged" in names
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    file = "checkpoints/step-0000008/state.safetensors"
    one, other = (load_file(tmp_path / name / file) for name in ("run", "whole"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_weights_that_are_not_numbers_are_neither_saved_nor_loaded(start, tmp_path, older) -> None:
    plan = {"max_steps": 4, "validate_every": 2, "log_every": 9, "keep": 9}
    trainer = start(tmp_path / "run", **plan)
    validate = trainer.validate
    trainer.validate = lambda model: (validate(model), trainer.model.lm_head.weight.data.fill_(torch.nan))[0]
    with pytest.raises(FloatingPointError, match=r"step 2; weights no longer finite: lm_head\.weight"):
        trainer.train(progress=False)  # they are spoilt between the validation and the save
    assert trainer.run.checkpoints() == [] and list(trainer.run.path.glob("checkpoints/*")) == []

    trainer = start(tmp_path / "moments", **plan)
    trainer.train(progress=False)
    model = trainer.run.checkpoints()[-1]
    state = next(iter(trainer.learner.optimizers[0].state.values()))
    state["exp_avg"].fill_(torch.inf)
    with pytest.raises(FloatingPointError, match=r"learner/optimizers/0/.*/exp_avg holds NaN or inf"):
        trainer.save()
    older(model)
    broken = HRM.from_pretrained(model)
    broken.lm_head.weight.data[0, 0] = torch.nan
    broken.save_pretrained(model)
    with pytest.raises(ValueError, match=r"model.safetensors is damaged: lm_head.weight holds NaN"):
        HRM.from_pretrained(model)
    assert RunFolder(tmp_path / "moments").load_model()[1] == 2


def test_damaged_keys_of_learned_puzzles_are_read_again(tmp_path, caplog) -> None:
    run = RunFolder(tmp_path)
    keys = numpy.arange(9, dtype=numpy.uint64)
    run.store_learned(keys)
    file, whole = tmp_path / "learned.npy", (tmp_path / "learned.npy").read_bytes()
    assert (run.learned() == keys).all()
    for kind in ("flipped", "cut", "empty", "longer"):
        damage(file, kind, random.Random(1))
        assert run.learned() is None and "learned.npy is damaged; the run's puzzles are read" in caplog.text
        file.write_bytes(whole)
        caplog.clear()
    (tmp_path / "checksums.sha256").unlink()  # of an earlier version
    assert (run.learned() == keys).all()


def test_damaged_lines_of_a_log_are_left_out(start, tmp_path) -> None:
    start(tmp_path / "run", max_steps=4).train(progress=False)
    file, good = tmp_path / "run" / "metrics.jsonl", lines(tmp_path / "run")
    bad = [b'{"step": "3"}', b'{"step": null}', b"[]", b"\xff\xfe{", b'{"step": 1', b"[" * 9999, b"\0" * 9]
    file.write_bytes(b"\n".join([*bad, file.read_bytes()]) + b'{"step": 4, "tra')
    resume_run([Layer({"max_steps": 6})], tmp_path / "run").train(progress=False)
    assert lines(tmp_path / "run")[: len(good)] == good


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_a_run_of_an_earlier_version_goes_on(start, tmp_path, older, decay) -> None:
    plan = {"validate_every": 2, "log_every": 2, "ema_decay": decay}
    start(tmp_path / "whole", **plan).train(progress=False)
    start(tmp_path / "run", max_steps=4, **plan).train(progress=False)
    older(RunFolder(tmp_path / "run").latest())
    resumed = resume_run([Layer({"max_steps": 6})], tmp_path / "run")
    assert resumed.learner.step == 4
    resumed.train(progress=False)
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert same_weights(tmp_path / "run", tmp_path / "whole")


def test_a_diverging_run_saves_nothing(start, tmp_path) -> None:
    from hrm_rl.agents import LearnerConfig

    learner = LearnerConfig(optimizer="adamw", lr=1e38, warmup_steps=0)
    trainer = start(tmp_path / "run", learner=learner, validate_every=1)
    with pytest.raises(FloatingPointError, match="no checkpoint was made before"):
        trainer.train(progress=False)
    assert trainer.run.checkpoints() == []


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "checkpoints"), [(None, True), (b"", True), (b'{"preset": {}}', True), (b"", False)]
)
def test_settings_are_read_from_another_file_of_the_run(
    finished, tmp_path, caplog, content, checkpoints
) -> None:
    from hrm_rl.cli import main

    if checkpoints:
        shutil.copytree(finished, tmp_path / "run")
        (tmp_path / "run" / "config.toml").write_text("preset = 3")
        wanted = RunFolder(finished).config()
    else:
        words = ["train", "sudoku-4x4", "--max-steps", "2", "--batch-size", "4", "--dtype", "float32"]
        words += ["--data.train-puzzles", "40", "--data.validation-puzzles", "4", "--model.hidden-size", "16"]
        assert main([*words, "--out", str(tmp_path / "run"), "--json"]) == 0
        shutil.rmtree(tmp_path / "run" / "checkpoints")
        wanted = RunFolder(tmp_path / "run").config()
    file = tmp_path / "run" / "config.json"
    file.unlink() if content is None else file.write_bytes(content)
    caplog.clear()
    preset, compute = RunFolder(tmp_path / "run").config()
    assert preset == wanted[0] and compute.dtype == wanted[1].dtype
    (warning,) = caplog.messages
    source = "run.json" if checkpoints else "config.toml"
    assert "config.json" in warning and warning.endswith(f"{source}.")
    assert main(["train", "--resume", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(file.read_text())["preset"] == json.loads(json.dumps(wanted[0].to_dict()))


def test_nothing_left_of_the_settings_has_one_remedy(finished, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "config.json").write_text("{}")
    (run / "config.toml").write_text("")
    for checkpoint in run.glob("checkpoints/*"):
        (checkpoint / "run.json").unlink()
    with pytest.raises(ValueError, match=r"config.json is not a run .*; --init starts a new run from"):
        resume_run([], run)
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ValueError, match=r"config.json is not a run configuration: it lacks 'preset'$"):
        resume_run([], run)
    with pytest.raises(FileExistsError, match=r"already holds a run or a model; choose another folder$"):
        start_run([Layer({}, "sudoku-4x4")], run)


def test_other_versions_are_noted(finished, monkeypatch) -> None:
    checkpoint = RunFolder(finished).latest()
    assert version_note(checkpoint) is None
    monkeypatch.setattr(numpy, "__version__", "9.9")
    found = "Other versions than before, which may change digits: numpy {} -> 9.9."
    assert version_note(checkpoint) == found.format(metadata.version("numpy"))


def test_a_checkpoint_elsewhere_has_its_settings(finished, tmp_path) -> None:
    from hrm_rl.training.open_run import open_trained

    copy = shutil.copytree(RunFolder(finished).latest(), tmp_path / "copy")
    trained = open_trained(copy, "cpu")
    assert trained.preset == RunFolder(finished).config()[0] and trained.step == 6
    versions = json.loads((copy / "run.json").read_text())["versions"]
    assert versions["torch"] == torch.__version__


# --- on the disk ----------------------------------------------------------------------------------


def test_everything_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch) -> None:
    import os

    seen: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def note_sync(descriptor):
        seen.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))))
        sync(descriptor)

    def note_replace(source, target):
        seen.append(("name", os.path.basename(target)))
        replace(source, target)

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("open files have no names here")
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    with written_whole(tmp_path / "folder") as partial:
        partial.mkdir()
        for name in ("a", "b"):
            (partial / name).write_text("x")
    named = seen.index(("name", "folder"))
    assert {("sync", "a"), ("sync", "b"), ("sync", partial.name)} <= set(seen[:named])
    assert seen[named + 1 :] == [("sync", tmp_path.name)]
