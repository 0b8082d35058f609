"""The architecture: one frozen dataclass with the reference's names."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hrm_rl.messages import did_you_mean
from hrm_rl.settings import SettingError, check_integers, check_interval, check_one_of, restore

FORWARD_DTYPES = ("float32", "bfloat16", "float16", "float64")
POSITION_ENCODINGS = ("rope", "learned", "rope-2d", "none")
MIXERS = ("attention", "mlp")
ARCHITECTURES: dict[str, type[Any]] = {}
"""The models by `HRMConfig.architecture`; `hrm_rl.model.models` enters the package's own."""

# Far beyond any model: what is larger is damage, and would take all memory or all time.
_LARGEST, _MOST_CYCLES, _MOST_LAYERS, _MOST_CELLS, MOST_SEGMENTS = 1 << 20, 128, 1024, 1 << 16, 1 << 12
_MOST_HEADS = 1 << 12
_MOST_BLOCKS = 1 << 14  # blocks computed in a segment; the paper's model has 24
_MOST_LOGITS, _MOST_ANGLES = 1 << 26, 1 << 24  # of a puzzle, and of the tables of rotary positions
_MOST_BIASES = 1 << 28  # of relation_bias
# Entries of the reference's `arch` section that do not describe the network.
_REFERENCE_EXTRAS = frozenset({"name", "loss", "batch_size", "causal"})


def check_heads(hidden_size: int, num_heads: int) -> None:
    """Raise ValueError if the heads do not divide the width."""
    if hidden_size % num_heads:
        raise SettingError(
            f"hidden_size={hidden_size} is not divisible by num_heads={num_heads}",
            *("hidden_size", "num_heads"),
        )


def check_sizes(config: Any) -> None:
    """Raise SettingError if width, heads, layers or cycles are out of range, or too many together."""
    check_integers(config, 1, "hidden_size", most=_LARGEST)
    check_integers(config, 1, "num_heads", most=_MOST_HEADS)
    check_integers(config, 1, "H_cycles", "L_cycles", most=_MOST_CYCLES)
    check_integers(config, 1, "H_layers", "L_layers", most=_MOST_LAYERS)
    check_heads(config.hidden_size, config.num_heads)
    check_interval(config, "(0, 1000]", "expansion")
    if swiglu_width(config.expansion, config.hidden_size, 1) < 1:
        raise SettingError(
            f"expansion={config.expansion} leaves no inner width of hidden_size={config.hidden_size}",
            *("expansion", "hidden_size"),
        )
    blocks = config.H_cycles * (config.L_cycles * config.L_layers + config.H_layers)
    settings = ("H_cycles", "L_cycles", "L_layers", "H_layers")
    check_product(config, blocks, _MOST_BLOCKS, "blocks of a segment", *settings)


def check_product(config: Any, count: int, most: int, what: str, *settings: str) -> None:
    """Raise SettingError if settings that are possible alone make too many of something together."""
    if count > most:
        names = ", ".join(f"{name}={getattr(config, name)}" for name in settings)
        raise SettingError(f"{names} make {count:,} {what}; at most {most:,} are possible", *settings)


def swiglu_width(expansion: float, hidden_size: int, multiple: int) -> int:
    """Two thirds of the expansion, rounded up to a multiple."""
    return -(-round(expansion * hidden_size * 2 / 3) // multiple) * multiple


@dataclass(frozen=True)
class HRMConfig:
    """Architecture of a model; the defaults are the reference's 27M-parameter HRM.

    Raises ValueError, naming the field, if a value is out of range.
    Source: arXiv 2506.21734, section 2; names as in the reference's `config/arch/hrm_v1.yaml`.
    """

    vocab_size: int
    """Tokens, padding included: 11 for 9x9 Sudoku."""
    seq_len: int
    """Cells of a puzzle: 81 for 9x9 Sudoku."""
    architecture: str = "hrm"
    """The recursion: hrm, trm (one network updates both states), recurrent (one network, one state) or direct
    (one pass, one segment)."""
    num_puzzle_identifiers: int = 1
    """Rows of the puzzle embedding: 1 for Sudoku, one for each task and augmentation in ARC."""
    puzzle_emb_ndim: int | None = None
    """Width of the per-puzzle embedding; None means hidden_size, 0 means no embedding."""
    puzzle_emb_len: int = 0
    """Tokens that the embedding takes in front of the puzzle; 0 means as many as its width fills."""
    H_cycles: int = 2
    """Updates of the slow module H in a segment (the paper's N; TRM's T)."""
    L_cycles: int = 2
    """Updates of the fast module L before each of H's (the paper's T; TRM's n)."""
    H_layers: int = 4
    """Transformer blocks of H."""
    L_layers: int = 4
    """Transformer blocks of L, or of the one network."""
    hidden_size: int = 512
    """Width of both modules; divisible by num_heads."""
    num_heads: int = 8
    """Attention heads of a block."""
    expansion: float = 4.0
    """Inner width of the SwiGLU over hidden_size, before the factor 2/3 and rounding up to 256s."""
    norm_gated: bool = False
    """Norm the product in the SwiGLU, sigmoid(gate) * rms(gate * up), as arXiv 2601.19085 does for Muon."""
    relaxation: float = 1.0
    """trm: share of the network's output in a new state, the rest is the old state; EqR's lambda is 0.95."""
    mixer: str = "attention"
    """How a block mixes tokens: attention, or mlp, a SwiGLU over the tokens, the same for every channel (the
    public TRM's mlp_t)."""
    mixer_width: int | None = None
    """Inner width of that SwiGLU; none means by expansion, rounded up to 256s, wide for small boards."""
    pos_encodings: str = "rope"
    """rope (rotary, the reference's), learned (a table, which small models need), rope-2d: rotary by row and
    by column of a square board, with which small models learn large boards, or none."""
    rms_norm_eps: float = 1e-5
    """Added to the mean square in RMSNorm."""
    rope_theta: float = 10000.0
    """Base of the rotary wavelengths; on boards of rope-2d a few times their width does."""
    relation_bias: bool = False
    """Add a learned bias to attention for each head and class of relation between two cells (same row, same
    box, a neighbour): the model is told the structure of its puzzles, which the paper's is not."""
    halt_max_steps: int = 16
    """Segments after which the draft is submitted (the paper's M_max)."""
    halt_exploration_prob: float = 0.1
    """Probability that a row may not halt before a segment drawn from 2..halt_max_steps."""
    forward_dtype: str = "bfloat16"
    """Type of a forward pass; weights stay float32. `hrm-rl train` sets it by --dtype."""

    def __post_init__(self) -> None:
        if self.puzzle_emb_ndim is None:
            object.__setattr__(self, "puzzle_emb_ndim", self.hidden_size)
        check_sizes(self)
        check_integers(self, 1, "vocab_size", most=_LARGEST)
        check_integers(self, 1, "seq_len", most=_MOST_CELLS)
        check_integers(self, 1, "halt_max_steps", most=MOST_SEGMENTS)
        check_integers(self, 1, "num_puzzle_identifiers")
        if self.architecture not in ARCHITECTURES:
            known, near = ", ".join(ARCHITECTURES), did_you_mean(str(self.architecture), ARCHITECTURES)
            raise SettingError(
                f"architecture must be one of {known}; got {self.architecture!r}{near and f'; {near}'}",
                "architecture",
            )
        check_one_of(self, MIXERS, "mixer")
        if self.mixer_width is not None:
            check_integers(self, 1, "mixer_width", most=_LARGEST)
        check_one_of(self, POSITION_ENCODINGS, "pos_encodings")
        check_one_of(self, FORWARD_DTYPES, "forward_dtype")
        for name in ("relation_bias", "norm_gated"):
            if not isinstance(getattr(self, name), bool):
                raise SettingError(f"{name} must be true or false, got {getattr(self, name)!r}", name)
        check_interval(self, "(0, 1]", "relaxation")
        if self.relaxation != 1 and self.architecture != "trm":
            raise SettingError(
                f"relaxation is for architecture trm; it must be 1 for {self.architecture}, got "
                f"{self.relaxation}",
                *("relaxation", "architecture"),
            )
        kind = self.pos_encodings
        pair = {"rope": 2, "rope-2d": 4}.get(kind, 1)
        if self.head_dim % pair:
            raise SettingError(
                f"{kind} needs a head size divisible by {pair}, got hidden_size / num_heads = "
                f"{self.head_dim}",
                *("hidden_size", "num_heads", "pos_encodings"),
            )
        if kind == "rope-2d" and math.isqrt(self.seq_len) ** 2 != self.seq_len:
            raise SettingError(
                f"rope-2d needs a square board, got seq_len={self.seq_len}", *("seq_len", "pos_encodings")
            )
        check_integers(self, 0, "puzzle_emb_ndim", most=_LARGEST)
        check_integers(self, 0, "puzzle_emb_len", most=_MOST_CELLS)
        if self.puzzle_emb_len and not 0 < self.embedding_width <= self.puzzle_emb_len * self.hidden_size:
            raise SettingError(
                f"puzzle_emb_len={self.puzzle_emb_len} tokens of width {self.hidden_size} need a "
                f"puzzle_emb_ndim of 1 to their product, got {self.embedding_width}",
                *("puzzle_emb_len", "puzzle_emb_ndim"),
            )
        check_interval(self, "(0, inf)", "rms_norm_eps", "rope_theta")
        check_interval(self, "[0, 1]", "halt_exploration_prob")
        logits = self.seq_len * self.vocab_size
        check_product(self, logits, _MOST_LOGITS, "logits of a puzzle", "seq_len", "vocab_size")
        tokens = self.tokens
        settings = ("seq_len", "puzzle_emb_ndim", "hidden_size", "num_heads")
        if kind.startswith("rope"):
            check_product(self, tokens * self.head_dim, _MOST_ANGLES, "rotary angles", *settings)
        if self.relation_bias:
            check_product(self, self.num_heads * tokens**2, _MOST_BIASES, "biases", *settings)
            if self.mixer == "mlp":
                raise SettingError(
                    "relation_bias is added to attention's scores, which mixer mlp has not; take mixer "
                    "attention or leave relation_bias false",
                    *("relation_bias", "mixer"),
                )
        ARCHITECTURES[self.architecture].check(self)

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
        """Tokens the puzzle embedding takes before the sequence: as set, or ceil(width / hidden_size)."""
        return self.puzzle_emb_len or -(-self.embedding_width // self.hidden_size)

    @property
    def tokens(self) -> int:
        """Tokens of the state: the prefix and the cells."""
        return self.prefix_len + self.seq_len

    @property
    def stacks(self) -> dict[str, Any]:
        """The architecture's stacks of blocks by name: `layers`, and `calls` in a segment."""
        found: dict[str, Any] = ARCHITECTURES[self.architecture].stacks(self)
        return found

    @property
    def segment_blocks(self) -> int:
        """Blocks run in a segment: a stack's at each of its calls. All cost the same."""
        return sum(stack.layers * stack.calls for stack in self.stacks.values())

    @property
    def swiglu_width(self) -> int:
        """Inner width of the SwiGLU: two thirds of the expansion, up to a multiple of 256."""
        return swiglu_width(self.expansion, self.hidden_size, 256)

    @property
    def mixer_shape(self) -> tuple[int, int] | None:
        """Tokens and inner width of the SwiGLU over them; None with attention."""
        width = self.mixer_width or swiglu_width(self.expansion, self.tokens, 256)
        return (self.tokens, width) if self.mixer == "mlp" else None

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HRMConfig":
        """Build from a mapping, such as config.json or the reference's `arch` section.

        Raises SettingError naming a field of the wrong type or range, or an unknown one.
        """
        return restore(cls, {k: v for k, v in values.items() if k not in _REFERENCE_EXTRAS})
