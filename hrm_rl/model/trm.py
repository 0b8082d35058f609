"""The Tiny Recursive Model. Source: arXiv 2510.04871, figures 1 and 3.

The paper's settings for Sudoku: `HRMConfig(11, 81, architecture="trm", mixer="mlp", pos_encodings="none",
L_layers=2, H_cycles=3, L_cycles=6, puzzle_emb_len=16)`, learned with gradient last-cycle and q_target none.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hrm_rl.model.config import HRMConfig
from hrm_rl.model.puzzle_model import PuzzleModel, Stack
from hrm_rl.model.recurrence import Carry, Gradient, Net, graph_of


class TRM(PuzzleModel):
    """One small network of L_layers blocks that updates a latent z (z_L) and the answer y (z_H).

    A segment is H_cycles recursions (the paper's T) of L_cycles updates of z (n) and one of y. The paper's
    gradient is `last-cycle`, the whole last recursion. With `relaxation` below 1 a new state keeps a share of
    the old one, as in EqR (arXiv 2605.21488).
    """

    answering = "L_level"
    title = "Tiny Recursive Model"
    paper = "https://arxiv.org/abs/2510.04871"
    unread = {"model.H_layers": "architecture trm has one network, of L_layers blocks"}  # noqa: RUF012

    @staticmethod
    def stacks(config: HRMConfig) -> dict[str, Stack]:
        return {"L_level": Stack(config.L_layers, config.H_cycles * (config.L_cycles + 1))}

    def recur(self, nets: Sequence[Net], carry: Carry, x: Tensor, gradient: Gradient) -> Carry:
        (net,), (y, z) = nets, carry
        T, n = self.config.H_cycles, self.config.L_cycles
        share = self.config.relaxation

        def updated(state: Tensor, by: Tensor) -> Tensor:
            new = net(state + by)
            return new if share == 1 else torch.lerp(state, new, share)

        for t in range(T):
            for i in range(n):
                with graph_of(gradient, t == T - 1, i == n - 1):
                    z = updated(z, y + x)
            with graph_of(gradient, t == T - 1, True):
                y = updated(y, z)
        return Carry(y, z)
