"""The bridge to Stable-Baselines3: an HRM in its policies, vector environments for it, and its policies as
halting rules."""

from typing import TYPE_CHECKING, Any

from hrm_rl.agents.sb3.extractor import HRMFeaturesExtractor, hrm_policy_kwargs
from hrm_rl.agents.sb3.files import load_weights, read_weights
from hrm_rl.agents.sb3.rule import Sb3Rule, load_rule
from hrm_rl.agents.sb3.thinking_callback import ThinkingCallback
from hrm_rl.agents.sb3.vec_env import TorchVecEnv
from hrm_rl.messages import pip_install

if TYPE_CHECKING:
    from hrm_rl.agents.sb3.recurrent import HRMRecurrentPolicy

__all__ = [
    "HRMFeaturesExtractor",
    "HRMRecurrentPolicy",
    "Sb3Rule",
    "ThinkingCallback",
    "TorchVecEnv",
    "hrm_policy_kwargs",
    "load_rule",
    "load_weights",
    "read_weights",
]


def __getattr__(name: str) -> Any:
    if name == "HRMRecurrentPolicy":  # only this one needs sb3-contrib, the extra "sb3"
        try:
            from hrm_rl.agents.sb3.recurrent import HRMRecurrentPolicy
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] == "sb3_contrib":
                raise ImportError(f"{name} needs sb3-contrib: {pip_install('sb3')}") from None
            raise
        return HRMRecurrentPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
