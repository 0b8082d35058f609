"""The architecture, as one frozen dataclass with the reference's names."""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FORWARD_DTYPES = ("float32", "bfloat16", "float16", "float64")
POSITION_ENCODINGS = ("rope", "learned", "rope-2d")

# Entries of the reference's `arch` section that say nothing about the network itself.
_REFERENCE_EXTRAS = frozenset({"name", "loss", "batch_size", "causal"})


@dataclass(frozen=True)
class HRMConfig:
    """Architecture of an HRM; the defaults are the reference's 27M-parameter model.

    Raises ValueError, naming the field, where a value is out of range.
    Source: arXiv 2506.21734, section 2; names as in the reference's `config/arch/hrm_v1.yaml`.
    """

    vocab_size: int
    """Tokens, padding included: 11 for 9x9 Sudoku."""
    seq_len: int
    """Cells of a puzzle: 81 for 9x9 Sudoku."""
    num_puzzle_identifiers: int = 1
    """Rows of the puzzle embedding: 1 for Sudoku, one for each task and augmentation in ARC."""
    puzzle_emb_ndim: int | None = None
    """Width of the per-puzzle embedding; None means hidden_size, 0 means no embedding."""
    H_cycles: int = 2
    """Updates of the slow module H in a segment (the paper's N)."""
    L_cycles: int = 2
    """Updates of the fast module L before each of H's (the paper's T)."""
    H_layers: int = 4
    """Transformer blocks of H."""
    L_layers: int = 4
    """Transformer blocks of L."""
    hidden_size: int = 512
    """Width of both modules; divisible by num_heads."""
    num_heads: int = 8
    """Attention heads of a block."""
    expansion: float = 4.0
    """Inner width of the SwiGLU over hidden_size, before the factor 2/3 and rounding up to 256s."""
    pos_encodings: str = "rope"
    """rope (rotary, the reference's), learned (a table, which small models need), or rope-2d: rotary by
    row and by column of a square board, which small models learn large boards with."""
    rms_norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""
    rope_theta: float = 10000.0
    """Base of the rotary wavelengths; on boards of rope-2d a few times their width does."""
    halt_max_steps: int = 16
    """Segments after which the draft is submitted (the paper's M_max)."""
    halt_exploration_prob: float = 0.1
    """Probability that a row may not halt before a segment drawn from 2..halt_max_steps."""
    forward_dtype: str = "bfloat16"
    """What a forward pass computes in; weights stay float32. `hrm-rl train` sets it by --dtype."""

    def __post_init__(self) -> None:
        if self.puzzle_emb_ndim is None:
            object.__setattr__(self, "puzzle_emb_ndim", self.hidden_size)
        positive = (
            "vocab_size seq_len num_puzzle_identifiers H_cycles L_cycles H_layers L_layers "
            "hidden_size num_heads halt_max_steps"
        )
        for name in positive.split():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} is not divisible by num_heads={self.num_heads}"
            )
        if self.pos_encodings not in POSITION_ENCODINGS:
            raise ValueError(
                f"pos_encodings must be one of {POSITION_ENCODINGS}, got {self.pos_encodings!r}"
            )
        if self.pos_encodings == "rope" and self.head_dim % 2:
            raise ValueError(
                f"rope needs an even head size, got hidden_size / num_heads = {self.head_dim}"
            )
        if self.pos_encodings == "rope-2d":
            if self.head_dim % 4:
                raise ValueError(
                    f"rope-2d needs a head size divisible by 4, got hidden_size / num_heads = "
                    f"{self.head_dim}"
                )
            if math.isqrt(self.seq_len) ** 2 != self.seq_len:
                raise ValueError(f"rope-2d needs a square board, got seq_len={self.seq_len}")
        if self.forward_dtype not in FORWARD_DTYPES:
            raise ValueError(
                f"forward_dtype must be one of {FORWARD_DTYPES}, got {self.forward_dtype!r}"
            )
        if self.embedding_width < 0:
            raise ValueError(f"puzzle_emb_ndim must be >= 0, got {self.puzzle_emb_ndim}")
        for name in ("expansion", "rms_norm_eps", "rope_theta"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be a number > 0, got {getattr(self, name)}")
        if not 0.0 <= self.halt_exploration_prob <= 1.0:
            raise ValueError(
                f"halt_exploration_prob must lie in [0, 1], got {self.halt_exploration_prob}"
            )

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def embedding_width(self) -> int:
        """Width of the puzzle embedding, never None."""
        assert self.puzzle_emb_ndim is not None
        return self.puzzle_emb_ndim

    @property
    def prefix_len(self) -> int:
        """Tokens the puzzle embedding takes in front of the sequence: ceil(width / hidden_size)."""
        return -(-self.embedding_width // self.hidden_size)

    @property
    def swiglu_width(self) -> int:
        """Inner width of the SwiGLU: two thirds of the expansion, up to a multiple of 256."""
        return -(-round(self.expansion * self.hidden_size * 2 / 3) // 256) * 256

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HRMConfig":
        """Build from a mapping, such as config.json or the reference's `arch` section.

        Raises ValueError naming an unknown key and the nearest known one.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        for key in values:
            if key not in known and key not in _REFERENCE_EXTRAS:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"unknown model setting {key!r}{hint}")
        return cls(**{key: value for key, value in values.items() if key in known})
