"""What a step needs of memory, and what is said where a batch does not fit."""

import dataclasses

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from hrm_rl.agents import LearnerConfig
from hrm_rl.agents.learning.losses import token_loss
from hrm_rl.model import HRM, HRMConfig, recurrence
from hrm_rl.training.machine.memory import StepMemory, is_out_of_memory, kept_per_row, step_memory, too_large

SMALL = HRMConfig(5, 16, hidden_size=32, num_heads=4, forward_dtype="float32", H_layers=2)


@pytest.mark.parametrize("gradient", ["one-step", "full"])
def test_a_row_needs_what_a_real_step_keeps_of_it(gradient, monkeypatch) -> None:
    # A CPU's plain attention keeps more than the fused one that a GPU takes.
    monkeypatch.setattr(recurrence, "PLAIN_ATTENTION_TOKENS", 0)
    config, learner = SMALL, LearnerConfig(gradient=gradient)
    model = HRM(config)

    def kept(rows: int) -> int:
        storages = {}
        inputs, ids = torch.zeros(rows, 16, dtype=torch.int64), torch.zeros(rows, dtype=torch.int64)

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            out = model(model.initial_carry(rows), inputs, ids, gradient=gradient)
            token_loss(out.logits, inputs)
        return sum(t.untyped_storage().nbytes() for t in storages.values())

    carry = 2 * 2 * 17 * 32 * model.dtype.itemsize
    assert step_memory(config, learner).per_row == pytest.approx((kept(8) - kept(4)) / 4 + carry, 0.05)


def test_the_27m_model_needs_its_weights_four_times() -> None:
    memory = step_memory(HRMConfig(11, 81), LearnerConfig())
    assert memory.fixed == 27_275_266 * (16 + 2)


def small(cycles: int) -> HRMConfig:
    return dataclasses.replace(SMALL, H_cycles=cycles, L_cycles=cycles)


def test_gradients_keep_in_proportion_to_their_calls() -> None:
    cases = ((1, 1), (2, 1), (4, 1), (2, 3))
    (one,) = {kept_per_row(small(cycles), "one-step", segments=n) for cycles, n in cases}
    full = [kept_per_row(small(n), "full") for n in (1, 2, 3)]  # 2, 6 and 12 calls
    assert full[0] == one
    assert full[2] - full[1] == pytest.approx((full[1] - full[0]) * 6 / 4, rel=0.05)
    last = [kept_per_row(small(n), "last-cycle") for n in (1, 2, 3)]  # 2, 3 and 4
    assert last[2] - last[1] == last[1] - last[0] > 0
    assert last[2] < full[2]
    # Segments add up only if one backward pass waits for all.
    one, several = (kept_per_row(SMALL, "full", segments=n) for n in (1, 3))
    assert one == several
    at_once = kept_per_row(SMALL, "full", segments=3, at_once=True)
    assert at_once == pytest.approx(3 * one, rel=0.05)


@pytest.mark.gpu
def test_on_a_gpu_one_step_gradient_takes_the_same_memory_at_any_number_of_cycles() -> None:
    def most(cycles: int, gradient: str) -> int:
        """Bytes that a segment and its backward pass take beside the weights."""
        config = dataclasses.replace(small(cycles), forward_dtype="bfloat16")
        model = HRM(config).to("cuda")
        inputs = torch.zeros(512, 16, dtype=torch.int64, device="cuda")
        carry = model.initial_carry(512)
        for _ in range(2):  # what the first run makes for good is not counted
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            out = model(carry, inputs, inputs[:, 0], gradient=gradient)
            token_loss(out.logits, inputs).sum().backward()
            peak = torch.cuda.max_memory_allocated() - before
            del out
            model.zero_grad(set_to_none=True)
        return peak

    one = [most(cycles, "one-step") for cycles in (1, 4)]
    assert one[1] < 1.2 * one[0]
    full = [most(cycles, "full") for cycles in (1, 4)]  # 2 calls and 20
    assert full[1] > 4 * full[0]


def test_the_refusal_of_a_batch_names_the_largest_power_of_two_that_fits() -> None:
    fits = {99: 0, 110: 1, 139: 2, 140: 4, 180: 8, 100 + 10 * 1000: 512}
    assert {n: StepMemory(fixed=100, per_row=10).rows(n) for n in fits} == fits
    memory = StepMemory(fixed=100_000_000, per_row=10_000_000)
    said = str(too_large(4096, "cuda", memory, total=8_000_000_000))
    assert said.startswith("4096 rows do not fit into the 8.0 GB of cuda; ")
    assert "10.0 MB a row and 100 MB besides" in said and "512 rows: --batch-size 512" in said
    assert "not even one row" in str(too_large(1, "cuda", memory, total=1_000_000))


def test_out_of_memory_differs_from_other_errors() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60)
    assert is_out_of_memory(error.value)
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError("can't allocate memory"))


def test_a_run_whose_batch_does_not_fit_names_one_that_does(tmp_path, start, monkeypatch) -> None:
    trainer = start(tmp_path / "run")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.learner, "act", full)
    with pytest.raises(MemoryError, match=r"rows do not fit into the .* GB of cpu; .*--batch-size"):
        trainer.train(progress=False)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(tmp_path, start) -> None:
    trainer = start(tmp_path / "run", max_steps=20, validate_every=4, log_every=3)
    learn, poisoned = trainer.learner.learn, "L_level.layers.0.mlp.down_proj.weight"

    def poison(*args):
        metrics = learn(*args)
        if trainer.learner.step == 7:
            with torch.no_grad():
                trainer.model.get_parameter(poisoned)[0, 0] = float("nan")
        return metrics

    trainer.learner.learn = poison
    with pytest.raises(FloatingPointError) as error:
        trainer.train(progress=False)
    said = str(error.value)
    assert said.startswith("token_loss is not a number at step 8; weights no longer finite: ")
    assert "step-0000004" in said
    assert [p.name for p in trainer.run.checkpoints()] == ["step-0000004"]
    resumed = start(tmp_path / "run", resume=True, max_steps=20)
    assert all(p.isfinite().all() for p in resumed.model.parameters())
