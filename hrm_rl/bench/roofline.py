"""Work of a training step (operations and traffic) and the peak speed of this machine.

Work is counted on meta tensors, without computing; peaks are measured on large plain operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from hrm_rl.agents import LearnerConfig
from hrm_rl.agents.learning.losses import token_loss
from hrm_rl.agents.learning.q_targets import extra_segments
from hrm_rl.bench.timing import Way, now, on_one_thread, product_share
from hrm_rl.model import HRMConfig, ReasoningModel, make_model
from hrm_rl.model.layers import unrelated
from hrm_rl.training.machine.compute import Compute

# Per float32 weight an optimizer reads weight, gradient and two moments, and writes all but the gradient.
_OPTIMIZER_BYTES = 7 * 4


@dataclass(frozen=True)
class Work:
    """Operations and traffic."""

    flops: float
    """Floating-point operations of matrix products and attention (a multiply-add counts as two), without
    elementwise operations."""
    bytes: float
    """Bytes read and written if every operation goes through memory, except in fused attention."""

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.bytes * times)


@dataclass(frozen=True)
class Peak:
    """Speed of large plain operations on this machine."""

    flops: float
    """Floating-point operations per second in products of large square matrices."""
    bytes: float
    """Bytes per second, read and written, in copying a large tensor."""


def step_work(model: HRMConfig, learner: LearnerConfig, rows: int) -> Work:
    """The work of a Q-learning step without the environment: a segment with its backward pass, the Q target's
    share of another one, which ends in one position, and the optimizer."""
    with torch.device("meta"):
        network = make_model(model, unrelated(model))

        def gradient() -> None:
            out = _run(network, rows, learner)
            loss = token_loss(out.logits, _tokens(model, rows), learner.token_loss)
            (loss.sum() + out.q_halt.sum() + out.q_continue.sum()).backward()

        step = count(gradient)
        batch = _tokens(model, rows), torch.zeros(rows, dtype=torch.int64)
        target = count(lambda: network.next_q_values(network.initial_carry(rows), *batch))
    share = extra_segments(learner.q_target) if model.halt_max_steps > 1 else 0.0
    optimizer = Work(0, _OPTIMIZER_BYTES * network.num_parameters())
    return step + target * share + optimizer


def segment_work(model: HRMConfig, rows: int) -> Work:
    """The work of one segment without gradients."""
    with torch.device("meta"), torch.no_grad():
        network = make_model(model, unrelated(model))
        return count(lambda: _run(network, rows, LearnerConfig()))


def _run(network: ReasoningModel, rows: int, learner: LearnerConfig) -> Any:
    ids = torch.zeros(rows, dtype=torch.int64)
    tokens = _tokens(network.config, rows)
    return network(network.initial_carry(rows), tokens, ids, gradient=learner.gradient)


def _tokens(model: HRMConfig, rows: int) -> Tensor:
    return torch.zeros(rows, model.seq_len, dtype=torch.int64)


def count(run: Callable[[], Any]) -> Work:
    """The work of calling `run`."""
    traffic, products = _Traffic(), FlopCounterMode(display=False)
    with traffic, products:
        run()
    return Work(products.get_total_flops(), traffic.bytes)


class _Traffic(TorchDispatchMode):
    """Adds up the bytes of the tensors that operations read and write; views move nothing."""

    bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        read, written = _dense((args, kwargs)), _dense(out)
        memory = {t.untyped_storage()._cdata for t in read}
        is_view = not func._schema.is_mutable and any(t.untyped_storage()._cdata in memory for t in written)
        if not is_view:
            self.bytes += sum(map(_size, read)) + sum(map(_size, written))
        return out


def _dense(tree: Any) -> list[Tensor]:
    """The dense tensors, without sparse ones (the puzzle embedding's few rows)."""
    leaves = tree_leaves(tree)
    return [t for t in leaves if isinstance(t, Tensor) and t.layout == torch.strided]


def _size(tensor: Tensor) -> int:
    """Bytes; an expanded tensor counts its storage."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def measure_peak(compute: Compute, repeats: int = 5) -> Peak:
    """The peak with these settings: the best of `repeats` after a warm-up; takes about a second on a CPU."""
    compute.apply()
    on_gpu = compute.device.startswith("cuda")
    width, numbers = (8192, 1 << 28) if on_gpu else (1024, 1 << 25)
    # Random: constant tensors cost a GPU less power and are multiplied faster.
    generator = torch.Generator(compute.device).manual_seed(0)
    a, source = (
        torch.rand(shape, generator=generator, device=compute.device)
        for shape in ((width, width), (numbers,))
    )
    a = (a - 0.5).to(getattr(torch, compute.dtype))
    target = torch.empty_like(source)
    product = _best(lambda: torch.mm(a, a), compute, repeats)
    copy = _best(lambda: target.copy_(source), compute, repeats)
    return Peak(2 * width**3 / product, 2 * 4 * numbers / copy)


def with_work(row: dict[str, Any], work: Work, peak: Peak, way: Way | None = None) -> dict[str, Any]:
    """A row of `timing.ratio_row` with our work in GFLOP and GB, the share of the peak reached, and on a CPU
    the share of products in `way`."""
    shares = {"products": product_share(way)} if way is not None and way.compute.device == "cpu" else {}
    return (
        row
        | shares
        | {
            "gflop": work.flops / 1e9,
            "gigabytes": work.bytes / 1e9,
            "share_of_peak": work.flops / row["ours"] / peak.flops,
        }
    )


def _best(run: Callable[[], Any], compute: Compute, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        start = now(compute, alone=on_one_thread(compute))
        run()
        times.append(now(compute, alone=on_one_thread(compute)) - start)
    return min(times[1:])
