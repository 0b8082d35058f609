"""The network: one call is one reasoning segment for a batch. It knows no puzzle and no reward."""

from hrm_rl.model.config import HRMConfig
from hrm_rl.model.hrm import HRM, Carry, SegmentOutput

__all__ = ["HRM", "Carry", "HRMConfig", "SegmentOutput"]
