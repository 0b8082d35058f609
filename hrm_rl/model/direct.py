"""A plain transformer that answers at once: what recursion is compared with."""

from collections.abc import Sequence

from torch import Tensor

from hrm_rl.model.config import HRMConfig
from hrm_rl.model.puzzle_model import PuzzleModel, Stack
from hrm_rl.model.recurrence import Carry, Gradient, Net, graph_of
from hrm_rl.settings import SettingError


class DirectTransformer(PuzzleModel):
    """H_layers + L_layers blocks, as many parameters as HRM's, run once: `z <- net(x)`.

    It reads no state, so a second segment would give the same answer, and halt_max_steps must be 1. It is
    always differentiated as a whole.
    """

    answering = "L_level"
    title = "transformer"
    starts = ("H_init",)
    unread = {  # noqa: RUF012
        "model.H_cycles": "architecture direct runs its blocks once",
        "model.L_cycles": "architecture direct runs its blocks once",
        "learner.gradient": "architecture direct is differentiated as a whole",
    }

    @classmethod
    def check(cls, config: HRMConfig) -> None:
        if config.halt_max_steps != 1:
            raise SettingError(
                "halt_max_steps must be 1 for architecture direct, which answers in one segment; got "
                f"{config.halt_max_steps}",
                *("halt_max_steps", "architecture"),
            )

    @staticmethod
    def stacks(config: HRMConfig) -> dict[str, Stack]:
        return {"L_level": Stack(config.H_layers + config.L_layers, 1)}

    def recur(self, nets: Sequence[Net], carry: Carry, x: Tensor, gradient: Gradient) -> Carry:
        (net,) = nets
        with graph_of(gradient, True, True):
            z = net(x)
        return Carry(z, z)
