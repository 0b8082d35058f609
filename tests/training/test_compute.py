import pytest
import torch

from hrm_rl.training.compute import Compute, choose_compute, pick_device


def switches() -> tuple[str, int]:
    return torch.get_float32_matmul_precision(), torch.get_num_threads()


def test_choice_measures_and_leaves_the_switches_as_they_were(preset) -> None:
    p, before, state = preset(), switches(), torch.get_rng_state()
    choice = choose_compute(p.model, p.learner, p.batch_size, device="cpu")
    assert choice.compute.device == "cpu"
    assert choice.compute.dtype in ("float32", "bfloat16")
    assert not choice.compute.compile  # too short a run
    assert 0 < choice.row_seconds < 60
    assert switches() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_asked_for_is_taken(preset, dtype) -> None:
    p = preset()
    chosen = choose_compute(p.model, p.learner, 2, device="cpu", dtype=dtype).compute
    assert chosen.dtype == dtype


def test_apply_sets_the_switches() -> None:
    before = switches()
    try:
        Compute(matmul_precision="medium", threads=1).apply()
        assert switches() == ("medium", 1)
    finally:
        Compute(matmul_precision=before[0], threads=before[1]).apply()


def test_unusable_device_and_dtype_are_named(preset) -> None:
    with pytest.raises(ValueError, match="'cube'"):
        pick_device("cube")
    p = preset()
    with pytest.raises(ValueError, match=r"dtype.*'int8'"):
        choose_compute(p.model, p.learner, 2, device="cpu", dtype="int8")


def test_auto_takes_cuda_where_there_is_one() -> None:
    assert pick_device() == ("cuda" if torch.cuda.is_available() else "cpu")
