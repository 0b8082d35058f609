"""Halting rules, and the trace banks that evaluate them.

The names below load on first use (PEP 562), so that a trace bank opens without torch:
`from hrm_rl.halting import TraceBank`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_rl.halting.bank import BankHeader, TraceBank, puzzle_ids, puzzles_hash
    from hrm_rl.halting.bank.replay import Outcome, bank_features, replay
    from hrm_rl.halting.bank.toy import toy_bank
    from hrm_rl.halting.features import Memory, SegmentFeatures, segment_features
    from hrm_rl.halting.fit.calm import calibrate
    from hrm_rl.halting.fit.fitted import FittedRule
    from hrm_rl.halting.fit.linear import fit_lsm, fit_voc
    from hrm_rl.halting.fit.provenance import check_fitted
    from hrm_rl.halting.fit.tuning import resolve, sweep, threshold_curve
    from hrm_rl.halting.rules import RULES, HaltingRule, ThresholdRule, spec_of
    from hrm_rl.halting.rules.spec import parse_rule

_HOMES = {
    "bank": ("BankHeader", "TraceBank", "puzzle_ids", "puzzles_hash"),
    "bank.replay": ("Outcome", "bank_features", "replay"),
    "bank.toy": ("toy_bank",),
    "features": ("Memory", "SegmentFeatures", "segment_features"),
    "fit.calm": ("calibrate",),
    "fit.fitted": ("FittedRule",),
    "fit.linear": ("fit_lsm", "fit_voc"),
    "fit.provenance": ("check_fitted",),
    "fit.tuning": ("resolve", "sweep", "threshold_curve"),
    "rules": ("RULES", "HaltingRule", "ThresholdRule", "spec_of"),
    "rules.spec": ("parse_rule",),
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "RULES",
    "BankHeader",
    "FittedRule",
    "HaltingRule",
    "Memory",
    "Outcome",
    "SegmentFeatures",
    "ThresholdRule",
    "TraceBank",
    "bank_features",
    "calibrate",
    "check_fitted",
    "fit_lsm",
    "fit_voc",
    "parse_rule",
    "puzzle_ids",
    "puzzles_hash",
    "replay",
    "resolve",
    "segment_features",
    "spec_of",
    "sweep",
    "threshold_curve",
    "toy_bank",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value = getattr(import_module(f"hrm_rl.halting.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hrm_rl.halting' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # Importing the deprecated path hrm_rl.halting.replay must not hide the function of that name.
        if not (name == "replay" and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
