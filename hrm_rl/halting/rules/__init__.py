"""Halting rules. A rule is `rule(features) -> bool [B]`: which rows stop after this segment.

The same object decides live and on recordings. Its spec string, such as `confidence:0.9`, names it.

- built_in.py has the rules of one name and at most one number; most are a `ThresholdRule` (threshold.py)
- combine.py has rules made of rules, such as `recall(q)`
- learned.py lists the rules that are fitted on a trace bank and kept in a file, such as `lsm:FILE`
- custom.py imports yours, `module:Class`; any callable of the form above will do
- spec.py reads spec strings
"""

from hrm_rl.halting.rules.built_in import (
    KL,
    RULES,
    Act,
    Confidence,
    Entropy,
    FirstCorrect,
    Fixed,
    Margin,
    Oracle,
    Ponder,
    Q,
    QHalt,
    Random,
    Residual,
    SecondOrder,
    Stable,
)
from hrm_rl.halting.rules.protocol import (
    HaltingRule,
    Named,
    for_all_rows,
    needs_of,
    parts_of,
    required,
    spec_of,
    stops_of,
)
from hrm_rl.halting.rules.threshold import ThresholdRule

__all__ = [
    "KL",
    "RULES",
    "Act",
    "Confidence",
    "Entropy",
    "FirstCorrect",
    "Fixed",
    "HaltingRule",
    "Margin",
    "Named",
    "Oracle",
    "Ponder",
    "Q",
    "QHalt",
    "Random",
    "Residual",
    "SecondOrder",
    "Stable",
    "ThresholdRule",
    "for_all_rows",
    "needs_of",
    "parts_of",
    "required",
    "spec_of",
    "stops_of",
]
