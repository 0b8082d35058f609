"""The observation and action spaces of a puzzle environment."""

import numpy as np
from gymnasium import spaces

from hrm_rl.envs.core.source import Source


def observation_space(source: Source, halt_max_steps: int) -> spaces.Dict:
    """Tokens as integer boxes (SB3 would one-hot a MultiDiscrete), counters as Discrete."""
    tokens = spaces.Box(0, source.vocab_size - 1, (source.seq_len,), np.int32)
    return spaces.Dict(
        {
            "inputs": tokens,
            "draft": tokens,
            "puzzle_identifiers": spaces.Discrete(source.num_ids),
            "segment": spaces.Discrete(halt_max_steps + 1),
        }
    )


def action_space(source: Source, flat: bool) -> spaces.Dict | spaces.MultiDiscrete:
    """A draft and a decision; flat puts the decision behind the draft for tools without Dict."""
    answer = [source.vocab_size] * source.seq_len
    if flat:
        return spaces.MultiDiscrete([*answer, 2])
    return spaces.Dict({"answer": spaces.MultiDiscrete(answer), "halt": spaces.Discrete(2)})
