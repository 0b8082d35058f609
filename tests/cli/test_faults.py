"""Faults of the world while a run trains: a full disk, a folder that is removed, renamed or taken."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from hrm_rl.model.files.checksums import write_checksums
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine import compute
from hrm_rl.training.report.metrics import MetricsLog
from hrm_rl.training.run_folder.state import read_state, write_state

STEPS = ("--max-steps", 4, "--validate-every", 1, "--log-every", 1)
UNDISTURBED: list[bytes] = []


@pytest.fixture(autouse=True, scope="module")
def one_arithmetic():
    """Leave oneDNN out, which the probe may choose by its speed: weights are compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute, "_onednn_keeps_float32", lambda: False)
        yield


@pytest.fixture
def train(hrm_rl, small, tmp_path, monkeypatch):
    """Trains in `run` of the current folder."""
    monkeypatch.chdir(tmp_path)
    config = small("sudoku-4x4")
    return lambda *words: hrm_rl("train", "--config", config, "--out", "run", *STEPS, *words)


@pytest.fixture
def undisturbed(hrm_rl, small, tmp_path) -> bytes:
    """The weights of the run that nothing happens to."""
    if not UNDISTURBED:
        words = ("train", "--config", small("sudoku-4x4"), "--out", tmp_path / "undisturbed", *STEPS)
        assert hrm_rl(*words).code == 0
        UNDISTURBED.append(weights(tmp_path / "undisturbed"))
    return UNDISTURBED[0]


def weights(run: Path) -> bytes:
    return (run / "checkpoints" / "step-0000004" / "model.safetensors").read_bytes()


def at_step(monkeypatch, step: int, happens) -> None:
    """Let something happen before the checkpoint of a step."""
    save = Trainer.save

    def disturbed(trainer: Trainer, *model: object) -> None:
        if trainer.learner.step == step:
            happens()
        save(trainer, *model)

    monkeypatch.setattr(Trainer, "save", disturbed)


@pytest.fixture
def disk(monkeypatch):
    """A disk with room for `disk["room"]` more bytes, however they are written."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(room: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 10, 300, 1000, 2000, 10_000, 50_000, 1_000_000])
def test_a_full_disk_costs_no_result(train, disk, undisturbed, room) -> None:
    """Files may have `room` bytes, as at a quota; some break the start, others a checkpoint or a log."""
    disk(room)
    said = train("--json")
    disk(-1)
    assert said.code == (2 if room < 1_000_000 else 0), said.err
    assert "Traceback" not in said.err and (said.code == 0 or "File too large" in said.err.splitlines()[-1])
    if said.code:
        assert train("--resume", "--json").json["steps"] == 4
    assert weights(Path("run")) == undisturbed
    assert not list(Path("run").rglob("*.partial"))


def test_the_newest_checkpoint_is_named_where_one_cannot_be_saved(train, monkeypatch, disk) -> None:
    at_step(monkeypatch, 3, lambda: disk(100))
    last = train().err.splitlines()[-1]
    disk(-1)  # here: pytest's own output may go to a file
    assert last.startswith(
        "hrm-rl: run/checkpoints/step-0000003: File too large. This checkpoint was not saved"
    )
    assert "the newest is step-0000002. --resume goes on" in last


@pytest.mark.parametrize("happens", ["removed", "renamed"])
def test_a_folder_that_goes_appears_again(train, hrm_rl, monkeypatch, undisturbed, happens) -> None:
    gone = {"removed": lambda: shutil.rmtree("run"), "renamed": lambda: Path("run").rename("other")}
    at_step(monkeypatch, 2, gone[happens])
    said = train("--json")
    assert said.json["steps"] == 4 and said.err.count("run was removed or renamed") == 1
    assert weights(Path("run")) == undisturbed
    names = {path.name.partition(".tfevents")[0] for path in Path("run").iterdir()}
    assert names == {
        "checkpoints",
        "checksums.sha256",
        "config.json",
        "config.toml",
        "learned.npy",
        "metrics.jsonl",
        "events.out",
    }
    assert hrm_rl("eval", "run", "--puzzles", 2, "--json").json["step"] == 4
    if happens == "renamed":
        assert hrm_rl("eval", "other", "--puzzles", 2, "--json").json["step"] == 1


@pytest.mark.parametrize("name", ["metrics.jsonl", "events", "config.json", ".lock", "checkpoints"])
def test_a_file_that_goes_costs_only_itself(train, monkeypatch, undisturbed, name) -> None:
    def remove() -> None:
        for path in Path("run").glob(f"{name}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    at_step(monkeypatch, 2, remove)
    assert train("--json").json["steps"] == 4
    assert weights(Path("run")) == undisturbed


def test_a_folder_that_another_process_took_ends_the_run(train, monkeypatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    taken = []

    def take() -> None:
        shutil.rmtree("run")
        Path("run").mkdir()
        taken.append(os.open("run/.lock", os.O_CREAT | os.O_RDWR))
        fcntl.flock(taken[0], fcntl.LOCK_EX)
        os.write(taken[0], b"77 elsewhere")

    at_step(monkeypatch, 2, take)
    assert "run is in use by process 77 on elsewhere" in train().err.splitlines()[-1]
    assert [path.name for path in Path("run").iterdir()] == [".lock"]
    assert "run is in use by process 77" in train().refusal
    os.close(taken[0])


def test_a_tracker_file_that_cannot_be_written_costs_a_line(train, monkeypatch, undisturbed) -> None:
    write = MetricsLog.write

    def disturbed(log: MetricsLog, step: int, *figures) -> None:
        if step == 2:
            for path in Path("run").glob("[me]*"):
                if path.is_file():
                    path.unlink()
                    path.mkdir()
        write(log, step, *figures)

    monkeypatch.setattr(MetricsLog, "write", disturbed)
    said = train("--json")
    assert said.json["steps"] == 4
    assert said.err.count("cannot be written (Is a directory); training goes on") == 2
    assert weights(Path("run")) == undisturbed


def test_a_run_of_a_gpu_goes_on_on_a_cpu(train) -> None:
    assert train("--max-steps", 2).code == 0
    checkpoint = Path("run", "checkpoints", "step-0000002")
    state = read_state(checkpoint)
    state["learner"]["generator"] = torch.arange(16, dtype=torch.uint8)  # the size of CUDA's
    write_state(checkpoint, state)
    for file in (Path("run", "config.json"), checkpoint / "run.json"):
        file.write_text(file.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    write_checksums(checkpoint)
    Path("run", "checksums.sha256").unlink(missing_ok=True)
    said = train("--resume", "--device", "cpu", "--json")
    assert said.json["steps"] == 4
    assert said.err.count("from a device of another kind") == 1 and "Trained on cuda" in said.err
    state["learner"]["generator"] = torch.arange(17, dtype=torch.uint8)
    checkpoint = Path("run", "checkpoints", "step-0000004")
    write_state(checkpoint, state)
    write_checksums(checkpoint)
    assert "the generator's state is damaged" in train("--resume", "--max-steps", 5).refusal
