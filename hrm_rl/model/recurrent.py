"""A recurrent transformer without hierarchy: what HRM's and TRM's second state is compared with."""

from collections.abc import Sequence

from torch import Tensor

from hrm_rl.model.config import HRMConfig
from hrm_rl.model.puzzle_model import PuzzleModel, Stack
from hrm_rl.model.recurrence import Carry, Gradient, Net, graph_of


class RecurrentTransformer(PuzzleModel):
    """One network of L_layers blocks and one state: `z <- net(z + x)`, H_cycles times (L_cycles + 1) times.

    A segment runs as many blocks as TRM's of the same settings, and as HRM's with H_layers equal to L_layers.
    Each gradient covers as many, too: one-step the last two calls, last-cycle the last L_cycles + 1.
    """

    answering = "L_level"
    title = "recurrent transformer"
    starts = ("H_init",)
    unread = {"model.H_layers": "architecture recurrent has one network, of L_layers blocks"}  # noqa: RUF012

    @staticmethod
    def stacks(config: HRMConfig) -> dict[str, Stack]:
        return {"L_level": Stack(config.L_layers, config.H_cycles * (config.L_cycles + 1))}

    def recur(self, nets: Sequence[Net], carry: Carry, x: Tensor, gradient: Gradient) -> Carry:
        (net,), z = nets, carry.z_H
        cycles, calls = self.config.H_cycles, self.config.L_cycles + 1
        for cycle in range(cycles):
            for call in range(calls):
                with graph_of(gradient, cycle == cycles - 1, call >= calls - 2):
                    z = net(z + x)
        return Carry(z, z)
