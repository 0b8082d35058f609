import pytest
import torch

from hrm_rl.model import HRM
from hrm_rl.process.cpus import usable_cpus
from hrm_rl.training.machine import compute, threads
from hrm_rl.training.machine.compute import Compute, choose_again, choose_compute
from hrm_rl.training.machine.threads import fit_threads, thread_counts


@pytest.fixture(autouse=True)
def four_threads(monkeypatch):
    """A machine of 4 processors on which PyTorch chose 4 threads, and an environment that sets none."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(4)
    monkeypatch.setattr(threads, "usable_cpus", lambda: 4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("given", "stored", "environment", "counts"),
    [
        ("auto", None, "", [4, 1]),
        ("auto", 1, "", [1, 4]),
        ("auto", 2, "", [2, 4, 1]),
        ("auto", 64, "", [4, 1]),  # of a larger machine
        ("auto", -1, "", [4, 1]),
        ("auto", 64, "OMP_NUM_THREADS", [4]),
        ("auto", 1, "MKL_NUM_THREADS", [4]),
        (None, 64, "", [4]),
        (3, 64, "OMP_NUM_THREADS", [3]),
        (9, None, "", [9]),
    ],
)
def test_the_user_wins_then_the_environment(given, stored, environment, counts, monkeypatch):
    if environment:
        monkeypatch.setenv(environment, "4")
    assert thread_counts(given, stored) == counts


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/job/step", {"job/cpu.max": "100000 100000", "job/step/cpu.max": "max 100000"}, 1),
        ("0::/of/the/host", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
        ("0::/", {"cpu.max": ""}, 8),
        (
            "3:memory:/a\n2:cpu,cpuacct:/a",
            {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("2:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("", {}, 8),
    ],
)
def test_processors_that_a_container_or_job_may_use(groups, files, cpus, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    files = {f"sys/fs/cgroup/{name}": text for name, text in files.items()} | {"proc/self/cgroup": groups}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    assert usable_cpus(tmp_path) == cpus


def test_no_more_threads_than_usable_processors(monkeypatch) -> None:
    monkeypatch.setattr(threads, "usable_cpus", lambda: 2)
    assert thread_counts("auto", 4) == [2, 1]
    assert thread_counts(None) == [4] and thread_counts(3) == [3]


@pytest.mark.parametrize("count", [0, -1, 4097, 1 << 60])
def test_a_number_that_no_machine_has_is_refused(count) -> None:
    with pytest.raises(ValueError, match=rf"threads must be 1..4096, got {count}"):
        thread_counts(count)


@pytest.mark.parametrize(
    ("seconds", "chosen"), [({4: 1.0, 1: 0.7}, 1), ({4: 1.0, 1: 0.9}, 4), ({4: 9.0, 1: 1.0}, 1)]
)
def test_fewer_threads_must_be_worth_it(seconds, chosen, preset, monkeypatch) -> None:
    monkeypatch.setattr(threads, "_segment_seconds", lambda model, count: seconds[count])
    fit_threads(HRM(preset().model))
    assert torch.get_num_threads() == chosen


def test_a_probe_runs_segments_and_leaves_the_generator(preset) -> None:
    state = torch.get_rng_state()
    fit_threads(HRM(preset().model).requires_grad_())
    assert torch.get_num_threads() in (1, 4)
    torch.set_rng_state(state)
    fit_threads(model := HRM(preset().model), 3)
    assert torch.get_num_threads() == 3
    fit_threads(model, None)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("fast", [1, 4])
def test_training_measures_only_what_the_user_left_open(fast, preset, monkeypatch) -> None:
    tried = []

    def seconds(way, *_, **__):
        tried.append(way.threads)
        return 1.0 if way.threads == fast else 2.0

    monkeypatch.setattr(compute, "_row_seconds", seconds)
    p = preset()
    way = choose_compute(p.model, p.learner, 2, device="cpu").compute
    assert way.threads == fast and set(tried) == {1, 4}
    tried.clear()
    assert choose_compute(p.model, p.learner, 2, device="cpu", threads=3).compute.threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose_compute(p.model, p.learner, 2, device="cpu").compute.threads == 4
    assert set(tried) == {3, 4}


@pytest.mark.parametrize(
    ("stored", "fast", "chosen"), [(64, 4, 4), (64, 1, 1), (2, 2, 2), (2, 1, 1), (1, 4, 4)]
)
def test_a_resumed_run_is_fitted_again(stored, fast, chosen, preset, monkeypatch, caplog) -> None:
    monkeypatch.setattr(compute, "_row_seconds", lambda way, *_: 1.0 if way.threads == fast else 2.0)
    p, was = preset(), Compute(threads=stored)
    with caplog.at_level("INFO", logger="hrm_rl"):
        again = choose_again(was, p.model, p.learner, 2)
        assert again.threads == chosen
        assert choose_again(was, p.model, p.learner, 2, threads=3).threads == 3
    assert ("this machine" in caplog.text) and torch.get_num_threads() == 4
    caplog.clear()
    assert choose_again(again, p.model, p.learner, 2) == again
    assert not caplog.text


@pytest.mark.parametrize(("here", "chosen"), [(4, 2), (8, 4)])
def test_a_run_resumed_on_as_many_processors_keeps_its_threads(here, chosen, preset, monkeypatch) -> None:
    """Another number of threads may round differently."""
    monkeypatch.setattr(compute, "_row_seconds", lambda way, *_: 1.0 if way.threads == 4 else 2.0)
    monkeypatch.setattr(compute, "usable_cpus", lambda: here)
    p, was = preset(), Compute(threads=2, cpus=4, step_seconds=0.5)
    again = choose_again(was, p.model, p.learner, 2)
    assert (again.threads, again.cpus) == (chosen, here)
    assert again.step_seconds == (0.5 if chosen == 2 else 2.0)


@pytest.mark.parametrize("device", ["cuda:99", "mps", "xyz", "meta"])
def test_a_run_of_another_device_goes_on_here_in_one_line(device, preset, caplog) -> None:
    p, was = preset(), Compute(device, matmul_precision="medium", threads=1)
    with caplog.at_level("INFO", logger="hrm_rl"):
        again = choose_again(was, p.model, p.learner, 2, threads=1)
    assert again.device in ("cpu", "cuda") and len(caplog.records) == 1
    with pytest.raises(ValueError, match=device):
        choose_again(was, p.model, p.learner, 2, device=device)


@pytest.mark.parametrize(
    ("given", "stored", "threads"), [("auto", 64, None), (3, 64, 3), ("auto", None, None)]
)
def test_threads_beside_a_gpu_are_the_users(given, stored, threads, preset, monkeypatch, caplog) -> None:
    """They are not measured, and a resumed run reports no change of its own."""
    monkeypatch.setattr(compute, "pick_device", lambda device="auto": "cuda")
    monkeypatch.setattr(compute, "has_fast_bfloat16", lambda device: True)
    p = preset()
    first = choose_compute(p.model, p.learner, 2, device="cuda", threads=given).compute
    assert first.threads == (None if given == "auto" else given)
    was = Compute("cpu" if stored else "cuda", matmul_precision="highest", threads=stored)
    with caplog.at_level("INFO", logger="hrm_rl"):
        assert choose_again(was, p.model, p.learner, 2, threads=given).threads == threads
    assert bool(caplog.text) == bool(stored)


def test_what_would_not_keep_float32_is_left_out(preset, monkeypatch) -> None:
    p, was = preset(), Compute(matmul_precision="medium", threads=1, compile=True)
    monkeypatch.setattr(compute, "_onednn_keeps_float32", lambda: False)
    monkeypatch.setattr(compute, "_has_compiler", lambda: False)
    again = choose_again(was, p.model, p.learner, 2, threads=1)
    assert (again.matmul_precision, again.compile) == ("highest", False)
