"""The networks: one call is one reasoning segment for a batch, without environment or reward."""

from hrm_rl.model.config import ARCHITECTURES, HRMConfig
from hrm_rl.model.core import CoreConfig, CoreOutput, HRMCore
from hrm_rl.model.direct import DirectTransformer
from hrm_rl.model.hrm import HRM
from hrm_rl.model.models import ReasoningModel, from_pretrained, make_model
from hrm_rl.model.puzzle_model import PuzzleModel, SegmentOutput, Stack
from hrm_rl.model.recurrence import Carry, graph_of
from hrm_rl.model.recurrent import RecurrentTransformer
from hrm_rl.model.trm import TRM

__all__ = [
    "ARCHITECTURES",
    "HRM",
    "TRM",
    "Carry",
    "CoreConfig",
    "CoreOutput",
    "DirectTransformer",
    "HRMConfig",
    "HRMCore",
    "PuzzleModel",
    "ReasoningModel",
    "RecurrentTransformer",
    "SegmentOutput",
    "Stack",
    "from_pretrained",
    "graph_of",
    "make_model",
]
