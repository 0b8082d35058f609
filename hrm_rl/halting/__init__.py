"""Rules for stopping, and records to judge them on.

The names below load when they are first used (PEP 562), so that a trace bank can be opened without
torch: `from hrm_rl.halting import TraceBank`. To run a rule over one: `hrm_rl.halting.bank.replay`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hrm_rl.halting.bank import BankHeader, TraceBank, puzzle_ids, puzzles_hash
    from hrm_rl.halting.bank.replay import Outcome, bank_features
    from hrm_rl.halting.features import Memory, SegmentFeatures, segment_features
    from hrm_rl.halting.rules import HaltingRule, spec_of
    from hrm_rl.halting.rules.custom import ThresholdRule
    from hrm_rl.halting.rules.spec import parse_rule

_HOMES = {
    "BankHeader": "bank",
    "TraceBank": "bank",
    "puzzle_ids": "bank",
    "puzzles_hash": "bank",
    "Memory": "features",
    "SegmentFeatures": "features",
    "segment_features": "features",
    "ThresholdRule": "rules.custom",
    "Outcome": "bank.replay",
    "bank_features": "bank.replay",
    "HaltingRule": "rules",
    "spec_of": "rules",
    "parse_rule": "rules.spec",
}

__all__ = [
    "BankHeader",
    "HaltingRule",
    "Memory",
    "Outcome",
    "SegmentFeatures",
    "ThresholdRule",
    "TraceBank",
    "bank_features",
    "parse_rule",
    "puzzle_ids",
    "puzzles_hash",
    "segment_features",
    "spec_of",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"hrm_rl.halting.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hrm_rl.halting' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
