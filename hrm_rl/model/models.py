"""What the rest of the package needs of a model, the register of the models, and ways to make one by name."""

import os
from collections.abc import Iterator
from typing import Any, Protocol, Self

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hrm_rl.model.config import ARCHITECTURES, HRMConfig
from hrm_rl.model.direct import DirectTransformer
from hrm_rl.model.hrm import HRM
from hrm_rl.model.layers import Favoured, PuzzleEmbedding
from hrm_rl.model.puzzle_model import PuzzleModel, SegmentOutput
from hrm_rl.model.recurrence import Carry, Gradient
from hrm_rl.model.recurrent import RecurrentTransformer
from hrm_rl.model.trm import TRM


class ReasoningModel(Protocol):
    """What learners, agents, evaluation and run folders use of a model; `PuzzleModel` documents it."""

    config: HRMConfig
    dtype: torch.dtype
    training: bool
    puzzle_emb: PuzzleEmbedding | None

    # A segment, and the state between segments.
    def initial_carry(self, batch_size: int) -> Carry: ...
    def reset(self, carry: Carry, where: Tensor) -> Carry: ...
    def __call__(
        self, carry: Carry, inputs: Tensor, puzzle_identifiers: Tensor, *, gradient: Gradient = "one-step"
    ) -> SegmentOutput: ...
    def next_q_values(
        self, carry: Carry, inputs: Tensor, puzzle_identifiers: Tensor
    ) -> tuple[Tensor, Tensor]: ...
    def q_values(self, first_position: Tensor) -> tuple[Tensor, Tensor]: ...

    # Where and how it computes.
    @property
    def device(self) -> torch.device: ...
    @property
    def is_compiled(self) -> bool: ...
    def compile_blocks(self, **options: Any) -> None: ...
    def to(self, device: torch.device | str) -> Self: ...
    def train(self, mode: bool = True) -> Self: ...
    def eval(self) -> Self: ...

    # Parameters and files.
    @property
    def blocks(self) -> int: ...
    def num_parameters(self) -> int: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Any) -> Any: ...
    def requires_grad_(self, requires_grad: bool = True) -> Self: ...
    def save_pretrained(self, directory: str | os.PathLike[str]) -> None: ...
    def push_to_hub(self, repo_id: str, **options: Any) -> str: ...


_MODELS: dict[str, type[ReasoningModel]] = {
    "hrm": HRM,
    "trm": TRM,
    "recurrent": RecurrentTransformer,
    "direct": DirectTransformer,
}
ARCHITECTURES.update(_MODELS)


def make_model(
    config: HRMConfig, relations: ArrayLike | None = None, favoured: Favoured | None = None
) -> ReasoningModel:
    """A model of `config.architecture` with random weights; arguments and errors as in `PuzzleModel`."""
    if not isinstance(config, HRMConfig):
        raise ValueError(f"config must be an HRMConfig, got {type(config).__name__}")
    model: ReasoningModel = ARCHITECTURES[config.architecture](config, relations, favoured)
    return model


def from_pretrained(source: str | os.PathLike[str], **options: Any) -> ReasoningModel:
    """The model of any architecture in a folder, a run (RUN, RUN@500, RUN@best) or on the Hugging Face Hub.

    Options and errors are those of `PuzzleModel.from_pretrained`.
    """
    return PuzzleModel.from_pretrained(source, **options)
