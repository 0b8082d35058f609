"""The Hierarchical Reasoning Model. Source: arXiv 2506.21734; reference `models/hrm/hrm_act_v1.py`."""

from collections.abc import Sequence

from torch import Tensor

from hrm_rl.model.config import HRMConfig
from hrm_rl.model.puzzle_model import PuzzleModel, SegmentOutput, Stack
from hrm_rl.model.recurrence import Carry, Gradient, Modules, Net, run_segment

__all__ = ["HRM", "SegmentOutput"]


class HRM(PuzzleModel):
    """A slow module H and a fast module L, recurring: `run_segment`."""

    answering = "H_level"
    title = "Hierarchical Reasoning Model"
    paper = "https://arxiv.org/abs/2506.21734"

    @staticmethod
    def stacks(config: HRMConfig) -> dict[str, Stack]:
        c = config
        return {
            "H_level": Stack(c.H_layers, c.H_cycles),
            "L_level": Stack(c.L_layers, c.H_cycles * c.L_cycles),
        }

    def recur(self, nets: Sequence[Net], carry: Carry, x: Tensor, gradient: Gradient) -> Carry:
        return run_segment(self.config, Modules(*nets), carry, x, gradient)
