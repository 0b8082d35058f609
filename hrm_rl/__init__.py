"""hrm_rl: reasoning segments as action steps.

Importing the package registers its Gymnasium environments and loads neither torch nor triton; the
names below are loaded on first use (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hrm_rl.process import is_command, prepare_command

if is_command():  # before anything that takes long to import
    prepare_command()

from hrm_rl.moved import redirect_old_paths
from hrm_rl.registration import register_environments

if TYPE_CHECKING:
    from hrm_rl.agents import HRMAgent, Learner, LearnerConfig
    from hrm_rl.envs import PuzzleEnv, PuzzleVectorEnv
    from hrm_rl.evaluation.evaluate import evaluate
    from hrm_rl.evaluation.record import record
    from hrm_rl.evaluation.trajectories import Trajectories
    from hrm_rl.halting import SegmentFeatures
    from hrm_rl.model import HRM, TRM, Carry, HRMConfig, SegmentOutput, from_pretrained
    from hrm_rl.training.comparison import compare
    from hrm_rl.training.start import train

__version__ = "0.2.0"

_HOMES = {
    "HRM": "hrm_rl.model",
    "TRM": "hrm_rl.model",
    "HRMConfig": "hrm_rl.model",
    "from_pretrained": "hrm_rl.model",
    "Carry": "hrm_rl.model",
    "SegmentOutput": "hrm_rl.model",
    "HRMAgent": "hrm_rl.agents",
    "Learner": "hrm_rl.agents",
    "LearnerConfig": "hrm_rl.agents",
    "PuzzleEnv": "hrm_rl.envs",
    "PuzzleVectorEnv": "hrm_rl.envs",
    "SegmentFeatures": "hrm_rl.halting",
    "compare": "hrm_rl.training.comparison",
    "train": "hrm_rl.training.start",
    "Trajectories": "hrm_rl.evaluation",
    "evaluate": "hrm_rl.evaluation",
    "record": "hrm_rl.evaluation",
}

__all__ = [
    "HRM",
    "TRM",
    "Carry",
    "HRMAgent",
    "HRMConfig",
    "Learner",
    "LearnerConfig",
    "PuzzleEnv",
    "PuzzleVectorEnv",
    "SegmentFeatures",
    "SegmentOutput",
    "Trajectories",
    "__version__",
    "compare",
    "evaluate",
    "from_pretrained",
    "record",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hrm_rl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


redirect_old_paths()
register_environments()
