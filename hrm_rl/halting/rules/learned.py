"""The rules that are fitted on a trace bank and kept in a file, by name.

Each is a `hrm_rl.halting.fit.fitted.FittedRule`: its class defines loading (`lsm:FILE`) and fitting
(`lsm:auto`). The classes are named by string because some live in packages above this one.
"""

from importlib import import_module
from typing import Any

LEARNED = {
    "lsm": "hrm_rl.halting.fit.linear:LeastSquaresStopping",
    "voc": "hrm_rl.halting.fit.linear:ValueOfComputation",
    "calm": "hrm_rl.halting.fit.calm:Calibrated",
    "budget": "hrm_rl.halting.fit.budget:BudgetRule",
    "pqn": "hrm_rl.halting.fit.network:NetworkRule",
    "sb3": "hrm_rl.agents.sb3.rule:Sb3Rule",
}

FILES = dict.fromkeys(LEARNED, "FILE") | {"sb3": "ALGO:FILE", "budget": "COST:FILE"}
"""What follows the colon in a spec that loads the rule."""


def learned_class(name: str) -> Any:
    """The class of a learned rule, a `FittedRule`; its module is imported now."""
    module, _, kind = LEARNED[name].partition(":")
    return getattr(import_module(module), kind)
