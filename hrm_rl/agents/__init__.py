"""Agents and learners."""

if __name__ != "hrm_rl.agents":
    raise ImportError(f"import hrm_rl.agents, not {__name__}: a second copy would have other classes")

from hrm_rl.agents.cell import HRMCell
from hrm_rl.agents.hrm_agent import AgentState, HRMAgent
from hrm_rl.agents.learning.config import LearnerConfig
from hrm_rl.agents.learning.episode import EpisodeLearner, make_learner
from hrm_rl.agents.learning.learner import Learner
from hrm_rl.agents.pqn.hrm_pqn import HRMPQNConfig, train_hrm
from hrm_rl.agents.pqn.q_network import HRMQNetwork, ThinkingConfig
from hrm_rl.agents.reasoner import HRMReasoner
from hrm_rl.agents.tokenizer import ObsTokenizer

__all__ = [
    "AgentState",
    "EpisodeLearner",
    "HRMAgent",
    "HRMCell",
    "HRMPQNConfig",
    "HRMQNetwork",
    "HRMReasoner",
    "Learner",
    "LearnerConfig",
    "ObsTokenizer",
    "ThinkingConfig",
    "make_learner",
    "train_hrm",
]
