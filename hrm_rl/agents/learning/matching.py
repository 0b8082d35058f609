"""Whether environments are those that a learner is for: what differs would train something else, unsaid."""

from typing import TYPE_CHECKING

from gymnasium.vector import AutoresetMode

from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.model import HRMConfig

if TYPE_CHECKING:
    from hrm_rl.agents.learning.learner import LearnerConfig


def check_envs(model: HRMConfig, config: "LearnerConfig", envs: PuzzleVectorEnv) -> None:
    """Raises ValueError, naming all that differs, where `envs` are not what model and config are for."""
    both = (
        ("halt_max_steps", envs.halt_max_steps, model.halt_max_steps),
        ("segment_cost", envs.rules.segment_cost, config.segment_cost),
        ("seq_len", envs.seq_len, model.seq_len),
        ("autoreset_mode", envs.metadata["autoreset_mode"], AutoresetMode.SAME_STEP),
    )
    wrong = [
        f"{name} is {theirs} there and {ours} here" for name, theirs, ours in both if theirs != ours
    ]
    if envs.vocab_size > model.vocab_size:
        wrong.append(f"there are {envs.vocab_size} tokens, and the model knows {model.vocab_size}")
    if model.embedding_width and envs.source.num_ids > model.num_puzzle_identifiers:
        wrong.append(
            f"there are {envs.source.num_ids} puzzle identifiers, and the model knows "
            f"{model.num_puzzle_identifiers}"
        )
    if wrong:
        raise ValueError(f"the learner is not for these environments: {'; '.join(wrong)}")
