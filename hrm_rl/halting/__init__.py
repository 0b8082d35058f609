"""Rules for stopping: pure functions of what a segment showed."""

from hrm_rl.halting.features import Memory, SegmentFeatures, segment_features
from hrm_rl.halting.rules import HaltingRule, parse_rule

__all__ = ["HaltingRule", "Memory", "SegmentFeatures", "parse_rule", "segment_features"]
