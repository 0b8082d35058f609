"""The Hierarchical Reasoning Model. Source: arXiv 2506.21734; reference `models/hrm/hrm_act_v1.py`."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_rl.kernels.precision import warn_of_emulation
from hrm_rl.model.config import HRMConfig
from hrm_rl.model.layers import (
    BlockFunction,
    Embedding,
    ReasoningModule,
    block,
    board_rotary_tables,
    linear,
    rotary_tables,
    truncated_normal_,
)
from hrm_rl.model.puzzle_embedding import PuzzleEmbedding
from hrm_rl.model.recurrence import Carry, Gradient, Weights, run_segment

# sqrt(1/2): keeps the variance of a token embedding plus a position embedding at that of one.
_SUM_OF_TWO = 0.707106781


class SegmentOutput(NamedTuple):
    """What one segment gives."""

    carry: Carry
    logits: Tensor  # [B, S, V]
    q_halt: Tensor  # [B], float32: logit that the draft is right
    q_continue: Tensor  # [B], float32: logit of the value of thinking on


class HRM(nn.Module):
    """A slow module H and a fast module L, recurring; one call runs one segment for a batch.

    The Q head reads the first position of z_H: the puzzle embedding's where there is one.
    """

    H_init: Tensor
    L_init: Tensor
    rotary: Tensor | None

    def __init__(self, config: HRMConfig) -> None:
        super().__init__()
        self.config = config
        width, tokens = config.hidden_size, config.prefix_len + config.seq_len
        self.dtype = getattr(torch, config.forward_dtype)
        self.embed_tokens = Embedding(config.vocab_size, width, 1.0 / math.sqrt(width))
        self.embed_pos = (
            Embedding(tokens, width, 1.0 / math.sqrt(width))
            if config.pos_encodings == "learned"
            else None
        )
        self.puzzle_emb = (
            PuzzleEmbedding(config.num_puzzle_identifiers, config.embedding_width)
            if config.embedding_width
            else None
        )
        self.H_level = ReasoningModule(config, config.H_layers)
        self.L_level = ReasoningModule(config, config.L_layers)
        self.lm_head = linear(width, config.vocab_size)
        self.q_head = nn.Linear(width, 2)
        # Almost no wish to stop or to go on at first: both Q values start at sigmoid(-5).
        nn.init.zeros_(self.q_head.weight)
        nn.init.constant_(self.q_head.bias, -5.0)
        for name in ("H_init", "L_init"):
            self.register_buffer(name, truncated_normal_(torch.empty(width), 1.0).to(self.dtype))
        self.register_buffer("rotary", self._rotary_tables(), persistent=False)
        self._block: BlockFunction = block

    def _rotary_tables(self) -> Tensor | None:
        c = self.config
        if c.pos_encodings == "learned":
            return None
        if c.pos_encodings == "rope":
            tables = rotary_tables(c.prefix_len + c.seq_len, c.head_dim, c.rope_theta)
        else:
            width = math.isqrt(c.seq_len)
            tables = board_rotary_tables(width, c.prefix_len, c.head_dim, c.rope_theta)
        return tables.double() if self.dtype == torch.float64 else tables

    @property
    def device(self) -> torch.device:
        return self.H_init.device

    def num_parameters(self) -> int:
        """Trained parameters, the puzzle table left out (27,275,266 in the Sudoku configuration)."""
        return sum(p.numel() for n, p in self.named_parameters() if not n.startswith("puzzle_emb."))

    def compile_blocks(self, **options: Any) -> None:
        """Compile the block with torch.compile; every layer of H and L shares it, with and without
        gradients. Options are torch.compile's; a batch of another size compiles again."""
        self._block = torch.compile(block, **{"dynamic": False, **options})

    @property
    def is_compiled(self) -> bool:
        return self._block is not block

    # --- the carry ---------------------------------------------------------------------------

    def initial_carry(self, batch_size: int) -> Carry:
        """A fresh carry for `batch_size` rows, every position at H_init / L_init."""
        if not torch.compiler.is_compiling():
            warn_of_emulation(self.dtype, self.device.type)
        tokens = self.config.prefix_len + self.config.seq_len
        shape = (batch_size, tokens, self.config.hidden_size)
        return Carry(self.H_init.expand(shape).clone(), self.L_init.expand(shape).clone())

    def reset(self, carry: Carry, where: Tensor) -> Carry:
        """The carry with the rows of `where` (bool [B]) back at H_init / L_init."""
        rows = where.view(-1, 1, 1)
        return Carry(
            torch.where(rows, self.H_init, carry.z_H), torch.where(rows, self.L_init, carry.z_L)
        )

    # --- one segment -------------------------------------------------------------------------

    def forward(
        self,
        carry: Carry,
        inputs: Tensor,
        puzzle_identifiers: Tensor,
        *,
        gradient: Gradient = "one-step",
    ) -> SegmentOutput:
        """Run one segment.

        Args:
            carry: the state to go on from.
            inputs: tokens, integer [B, S].
            puzzle_identifiers: integer [B]; ignored where the model has no puzzle embedding.
            gradient: how much of the segment is differentiated: the last L call and the last H
                call (`one-step`, the paper), the whole last H-cycle, or every call.

        Raises:
            ValueError: `inputs` is not [B, seq_len], or `gradient` is none of the three.
        """
        config = self.config
        if inputs.ndim != 2 or inputs.shape[1] != config.seq_len:
            raise ValueError(
                f"inputs have shape {tuple(inputs.shape)}; this model takes [batch, {config.seq_len}]"
            )
        x = self._embed(inputs, puzzle_identifiers)
        weights = Weights(self.H_level.weights(self.dtype), self.L_level.weights(self.dtype))
        z_H, z_L = run_segment(config, weights, self._block, carry, x, self.rotary, gradient)
        logits = F.linear(z_H[:, config.prefix_len :], self.lm_head.weight.to(self.dtype))
        q_halt, q_continue = self.q_values(z_H[:, 0])
        return SegmentOutput(Carry(z_H.detach(), z_L.detach()), logits, q_halt, q_continue)

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

    def save_pretrained(self, directory: Any) -> None:
        """Write config.json and model.safetensors into `directory` (made if missing)."""
        from hrm_rl.model.files.weights import save_pretrained

        save_pretrained(self, directory)

    @classmethod
    def from_pretrained(
        cls, source: Any, *, revision: str | None = None, forward_dtype: str | None = None
    ) -> "HRM":
        """Load what `save_pretrained` wrote, from a folder or a Hugging Face Hub id.

        It computes in `forward_dtype`, by default in what it was saved with.

        Raises FileNotFoundError (nothing there, or the Hub cannot be reached) or ValueError (damaged).
        """
        from hrm_rl.model.files.weights import load_pretrained

        return load_pretrained(source, revision, forward_dtype)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model to the Hugging Face Hub; returns its address. See `files.hub.push`."""
        from hrm_rl.model.files.hub import push

        return push(self, repo_id, **options)

    @classmethod
    def from_reference(cls, checkpoint: Any, arch: Any, seq_len: int) -> "HRM":
        """Load a checkpoint of the reference implementation. See `pretrained.from_reference`."""
        from hrm_rl.model.files.weights import from_reference

        return from_reference(checkpoint, arch, seq_len)
