"""What the models of puzzles share: embedding, heads, carry and files.

A model adds its stacks of blocks and its recursion over them.

Source: arXiv 2506.21734; reference `models/hrm/hrm_act_v1.py`.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike
from torch import Tensor, nn

from hrm_rl.kernels.dispatch import place_inductor_cache
from hrm_rl.kernels.precision import warn_of_emulation
from hrm_rl.model.config import ARCHITECTURES, HRMConfig
from hrm_rl.model.core import Recurrent
from hrm_rl.model.files import hub, reference, weights
from hrm_rl.model.layers import (
    Embedding,
    Favoured,
    PuzzleEmbedding,
    ReasoningModule,
    RelationBias,
    board_rotary_tables,
    linear,
    rotary_tables,
)
from hrm_rl.model.recurrence import (
    BlockFunction,
    Carry,
    Gradient,
    Net,
    Positions,
    block,
    mixer_block,
    norm_gated_block,
)
from hrm_rl.tensors import in_range

# sqrt(1/2): a token embedding plus a position embedding keeps the variance of one.
_SUM_OF_TWO = 0.707106781


_NO_RELATIONS = (
    "relation_bias needs relations, a class for every pair of cells: "
    "make_model(config, relations=family.relations)"
)
_NOT_TAKEN = "this model takes no relations: set relation_bias in its config"


class SegmentOutput(NamedTuple):
    """The output of one segment."""

    carry: Carry
    logits: Tensor  # [B, S, V]
    q_halt: Tensor  # [B], float32: logit that the draft is right
    q_continue: Tensor  # [B], float32: logit of the value of thinking on


class Stack(NamedTuple):
    """One stack of blocks of a model."""

    layers: int
    calls: int  # in a segment


class PuzzleModel(Recurrent):
    """The base of the models of puzzles; one call runs one segment for a batch.

    A model defines `stacks` and `recur`; where it has one state, `starts`; and the settings that it does not
    read. The Q head reads the first position of z_H: the puzzle embedding's, if there is one.
    """

    title: ClassVar[str] = "recurrent reasoner"
    paper: ClassVar[str] = ""
    """The model's name and the address of its paper, for model cards."""
    answering: ClassVar[str] = ""
    """The stack whose last call in a segment gives z_H, position by position; "" for a model without one."""
    unread: ClassVar[Mapping[str, str]] = {}
    """Settings without effect on this model, by key ("model.H_layers"), and why."""

    @staticmethod
    def stacks(config: HRMConfig) -> dict[str, Stack]:
        """The model's stacks of blocks by the name of their module, in the order in which they are made."""
        raise NotImplementedError("a model of puzzles defines stacks(config)")

    def recur(self, nets: Sequence[Net], carry: Carry, x: Tensor, gradient: Gradient) -> Carry:
        """The state after a segment on the embedded input x, [B, T, D].

        `nets` are the stacks, each ready to run on [B, T, D]; `graph_of` says which calls keep their graph.
        """
        raise NotImplementedError("a model of puzzles defines recur(nets, carry, x, gradient)")

    @classmethod
    def check(cls, config: HRMConfig) -> None:
        """Raise SettingError for a configuration that this model cannot have."""

    embed_pos: Embedding | None
    puzzle_emb: PuzzleEmbedding | None
    relation_bias: RelationBias | None
    rotary: Tensor | None

    def __init__(
        self, config: HRMConfig, relations: ArrayLike | None = None, favoured: Favoured | None = None
    ) -> None:
        """
        Args:
            config: the architecture.
            relations: with `relation_bias`, a class for each ordered pair of cells, integers [S, S], as a
                family's `relations`; see `RelationBias` for `favoured`.

        Raises ValueError for `relation_bias` without relations, relations without it, or wrong ones.
        """
        super().__init__()
        if not isinstance(config, HRMConfig):
            given = type(config).__name__
            raise ValueError(f"config must be an HRMConfig (HRMConfig.from_dict makes one), got {given}")
        if not isinstance(self, ARCHITECTURES[config.architecture]):
            raise ValueError(
                f"{type(self).__name__} does not make architecture {config.architecture!r}: "
                f"{ARCHITECTURES[config.architecture].__name__} does, and make_model any"
            )
        if (relations is not None) != config.relation_bias:
            raise ValueError(_NO_RELATIONS if relations is None else _NOT_TAKEN)
        self.config = config
        width, tokens = config.hidden_size, config.tokens
        self.dtype = getattr(torch, config.forward_dtype)
        self.embed_tokens = Embedding(config.vocab_size, width, 1.0 / math.sqrt(width))
        self.embed_pos = self.puzzle_emb = None
        if config.pos_encodings == "learned":
            self.embed_pos = Embedding(tokens, width, 1.0 / math.sqrt(width))
        if config.embedding_width:
            self.puzzle_emb = PuzzleEmbedding(config.num_puzzle_identifiers, config.embedding_width)
        for name, stack in config.stacks.items():
            self.add_module(name, ReasoningModule(config, stack.layers, config.mixer_shape))
        self.lm_head = linear(width, config.vocab_size)
        self.q_head = nn.Linear(width, 2)
        # Both Q values start near 0, at sigmoid(-5).
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        self._draw_initial_states(width, self.dtype)
        self.register_buffer("rotary", self._rotary_tables(), persistent=False)
        self.relation_bias = None if relations is None else RelationBias(config, relations, favoured)
        self._plain_block: BlockFunction = mixer_block if config.mixer == "mlp" else block
        if config.norm_gated:
            self._plain_block = norm_gated_block
        self._block: BlockFunction = self._plain_block

    def _rotary_tables(self) -> Tensor | None:
        c = self.config
        if c.pos_encodings in ("learned", "none") or c.mixer == "mlp":
            return None
        if c.pos_encodings == "rope":
            tables = rotary_tables(c.tokens, c.head_dim, c.rope_theta)
        else:
            width = math.isqrt(c.seq_len)
            tables = board_rotary_tables(width, c.prefix_len, c.head_dim, c.rope_theta)
        return tables.double() if self.dtype == torch.float64 else tables

    @property
    def device(self) -> torch.device:
        return self.H_init.device

    def num_parameters(self) -> int:
        """Trained parameters without the puzzle table (27,275,266 in the Sudoku configuration)."""
        return sum(p.numel() for n, p in self.named_parameters() if not n.startswith("puzzle_emb."))

    @property
    def blocks(self) -> int:
        """Blocks with weights of their own."""
        return sum(stack.layers for stack in self.config.stacks.values())

    def compile_blocks(self, **options: Any) -> None:
        """Compile the block with torch.compile; every layer shares it, with and without
        gradients. Options are torch.compile's; a batch of another size compiles again."""
        place_inductor_cache()
        self._block = torch.compile(self._plain_block, **{"dynamic": False, **options})

    @property
    def is_compiled(self) -> bool:
        return self._block is not self._plain_block

    # --- the carry ---------------------------------------------------------------------------

    def initial_carry(self, batch_size: int) -> Carry:
        """A fresh carry for `batch_size` rows, every position at its initial state."""
        if not torch.compiler.is_compiling():
            warn_of_emulation(self.dtype, self.device.type)
        return self._fresh_carry(batch_size, self.config.tokens)

    # --- one segment -------------------------------------------------------------------------

    def forward(
        self, carry: Carry, inputs: Tensor, puzzle_identifiers: Tensor, *, gradient: Gradient = "one-step"
    ) -> SegmentOutput:
        """Run one segment.

        Args:
            carry: the state after the last segment.
            inputs: tokens, integer [B, S].
            puzzle_identifiers: integer [B]; ignored if the model has no puzzle embedding.
            gradient: how much of the segment is differentiated: the last call of each state
                (`one-step`, the paper), the whole last H-cycle (TRM's), or every call.

        Raises:
            ValueError: `inputs` is not [B, seq_len], a carry or identifiers of another B, tokens or ids
                that the model lacks (on a GPU only shapes and types are checked, since reading numbers would
                wait for it), or `gradient` is not one of the three.
        """
        after = self._segment(carry, inputs, puzzle_identifiers, gradient)
        cells = after.z_H[:, self.config.prefix_len :]
        logits = F.linear(cells, self.lm_head.weight.to(self.dtype))
        q_halt, q_continue = self.q_values(after.z_H[:, 0])
        return SegmentOutput(after.detach(), logits, q_halt, q_continue)

    @torch.no_grad()
    def next_q_values(
        self, carry: Carry, inputs: Tensor, puzzle_identifiers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The Q logits (halt, continue) of a segment, as `forward` without gradient; float32 [B] each.

        The segment's last block computes the first position alone. Raises ValueError as `forward`.
        """
        after = self._segment(carry, inputs, puzzle_identifiers, "one-step", self.answering)
        return self.q_values(after.z_H[:, 0])

    def _segment(
        self, carry: Carry, inputs: Tensor, ids: Tensor, gradient: Gradient, first: str = ""
    ) -> Carry:
        """The state after a segment; `first` names the stack whose last call may give one position."""
        if not torch.compiler.is_compiling():
            self._check(carry, inputs, ids)
        x = self._embed(inputs, ids)
        bias = None if self.relation_bias is None else self.relation_bias(self.dtype)
        positions, nets = Positions(self.rotary, bias), list[Net]()
        for name, stack in self.config.stacks.items():
            net = getattr(self, name).cast(self.dtype, positions, self._block)
            nets.append(net.ending_in_one_position(stack.calls) if name == first else net)
        return self.recur(nets, carry, x, gradient)

    def _check(self, carry: Carry, inputs: Tensor, puzzle_identifiers: Tensor) -> None:
        config = self.config
        if inputs.ndim != 2 or inputs.shape[1] != config.seq_len:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; this model takes [batch, {config.seq_len}]"
            )
        if len(carry.z_H) != len(inputs):
            raise ValueError(f"the carry has {len(carry.z_H)} rows, inputs have {len(inputs)}")
        wanted, got = (config.tokens, config.hidden_size), tuple(carry.z_H.shape[1:])
        if got != wanted:
            raise ValueError(f"the carry is of another model: its rows have the shape {got}, here {wanted}")
        in_range("inputs", inputs, config.vocab_size, inputs.device)
        if self.puzzle_emb is not None:
            if puzzle_identifiers.shape != inputs.shape[:1]:
                raise ValueError(
                    f"puzzle_identifiers have shape {tuple(puzzle_identifiers.shape)}; inputs have "
                    f"{len(inputs)} rows"
                )
            ids = config.num_puzzle_identifiers
            in_range("puzzle_identifiers", puzzle_identifiers, ids, inputs.device)

    def q_values(self, first_position: Tensor) -> tuple[Tensor, Tensor]:
        """The Q logits (halt, continue) of z_H's first position, [..., D] to two of [...], float32."""
        weight, bias = self.q_head.weight.to(self.dtype), self.q_head.bias.to(self.dtype)
        q = F.linear(first_position, weight, bias).float()
        return q[..., 0], q[..., 1]

    def _embed(self, inputs: Tensor, puzzle_identifiers: Tensor) -> Tensor:
        config = self.config
        x = F.embedding(inputs, self.embed_tokens.embedding_weight.to(self.dtype))
        if self.puzzle_emb is not None:
            rows = self.puzzle_emb(puzzle_identifiers).to(self.dtype)
            rows = F.pad(rows, (0, config.prefix_len * config.hidden_size - rows.shape[-1]))
            x = torch.cat((rows.view(-1, config.prefix_len, config.hidden_size), x), dim=1)
        if self.embed_pos is not None:
            x = _SUM_OF_TWO * (x + self.embed_pos.embedding_weight.to(self.dtype))
        return math.sqrt(config.hidden_size) * x

    # --- files -------------------------------------------------------------------------------

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors into `directory` (made if missing).

        Raises FileExistsError if it is the folder of a run.
        """
        weights.write_folder(self.config.to_dict(), self.state_dict(), directory)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        revision: str | None = None,
        forward_dtype: str | None = None,
        num_puzzle_identifiers: int | None = None,
        reset_puzzle_identifiers: bool = False,
    ) -> Self:
        """Load what `save_pretrained` wrote.

        Args:
            source: a folder, a run folder (RUN, RUN@500, RUN@best) or a Hugging Face Hub id.
            revision: of the repository on the Hub.
            forward_dtype: computes in it; by default in that of its config.
            num_puzzle_identifiers: rows of the puzzle embedding; those it lacks are fresh, which is zero.
            reset_puzzle_identifiers: make all of them fresh, for other puzzles.

        Raises FileNotFoundError (nothing there, or the Hub cannot be reached) or ValueError (damaged, or
        fewer rows than it has without a reset).
        """
        loaded = weights.read_pretrained(source, revision, forward_dtype)
        ids = num_puzzle_identifiers, reset_puzzle_identifiers
        return cls.from_state(*weights.with_puzzle_ids(loaded, *ids))

    @classmethod
    def from_reference(
        cls,
        checkpoint: Mapping[str, Tensor] | str | os.PathLike[str],
        arch: HRMConfig | Mapping[str, Any],
        seq_len: int,
    ) -> Self:
        """Load a checkpoint of the reference implementation. See `files.reference.read_reference`."""
        return cls.from_state(*reference.read_reference(checkpoint, arch, seq_len))

    @classmethod
    def from_state(cls, config: HRMConfig, tensors: Mapping[str, Tensor], name: str = "the state") -> Self:
        """A model of `config` with exactly these tensors.

        Raises ValueError with `name` and the tensors that are missing, unknown or of another shape.
        """
        kind = ARCHITECTURES[config.architecture]
        if not (issubclass(kind, cls) or issubclass(cls, kind)):
            raise ValueError(
                f"{name} has architecture {config.architecture!r}: {kind.__name__}.from_pretrained opens it, "
                "hrm_rl.from_pretrained any"
            )
        relations = weights.check_model(config, tensors, name)
        model: Self = (cls if issubclass(cls, kind) else kind)(config, relations)
        model.load_state_dict(dict(tensors))
        return model

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model to the Hugging Face Hub; returns its address. See `files.hub.push`."""
        return hub.push(self.save_pretrained, repo_id, **options)
