"""The network: one call is one reasoning segment for a batch, without environment or reward."""

from hrm_rl.model.config import HRMConfig
from hrm_rl.model.core import CoreConfig, CoreOutput, HRMCore
from hrm_rl.model.hrm import HRM, SegmentOutput
from hrm_rl.model.recurrence import Carry

__all__ = ["HRM", "Carry", "CoreConfig", "CoreOutput", "HRMConfig", "HRMCore", "SegmentOutput"]
