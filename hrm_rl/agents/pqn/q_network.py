"""HRMQNetwork: an HRM that gives the values of actions and of thinking on, for any observation.

Every reasoning segment on an observation gives the value of each action, read from z_H[:, 0]: the value of
halting there. A second head gives the value of thinking on. Halting never changes the environment, so all
segments of an observation can learn at once, whichever of them acted.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from gymnasium import spaces
from torch import Tensor, nn

from hrm_rl.agents.tokenizer import ObsTokenizer
from hrm_rl.model import CoreConfig, HRMCore
from hrm_rl.model.config import MOST_SEGMENTS
from hrm_rl.model.files.weights import CONFIG_FILE, check_fit, read_folder, write_folder
from hrm_rl.model.recurrence import Carry
from hrm_rl.settings import SettingError, check_integers, check_interval, check_one_of, reading, restore

_KIND = "hrm_q_network"
_MOST_TOKENS = 1 << 14  # of a stored network


@dataclass(frozen=True)
class ThinkingConfig:
    """The number of segments on an observation, and their cost. Raises ValueError, naming the
    field, for a value out of range."""

    halting: str = "learned"
    """`learned`: halt when the best action is worth as much as thinking on. `fixed:N`: N segments."""
    max_segments: int = 4
    """Segments after which `learned` halts in any case."""
    segment_cost: float = 0.01
    """Reward lost with every segment after the first; under `learned` only, which has a choice."""
    gamma_think: float = 1.0
    """Discount of a segment of thinking; under `learned` only."""
    carry: Literal["reset", "keep"] = "reset"
    """`reset`: think about every observation from a fresh carry. `keep`: from the carry at which the last
    step halted, so that the agent remembers; a new episode starts from a fresh one."""

    def __post_init__(self) -> None:
        name, _, number = self.halting.partition(":")
        fixed = name == "fixed" and number.isdecimal() and int(number) >= 1
        if self.halting != "learned" and not fixed:
            message = f"halting must be 'learned' or 'fixed:N', N >= 1, got {self.halting!r}"
            raise SettingError(message, "halting")
        check_integers(self, 1, "max_segments", most=MOST_SEGMENTS)
        check_integers(self, 1, "segments", most=MOST_SEGMENTS)
        check_interval(self, "[0, inf)", "segment_cost")
        check_interval(self, "[0, 1]", "gamma_think")
        check_one_of(self, ("reset", "keep"), "carry")

    @property
    def learned(self) -> bool:
        """Whether halting is learned."""
        return self.halting == "learned"

    @property
    def segments(self) -> int:
        """K, the largest number of segments."""
        return self.max_segments if self.learned else int(self.halting.partition(":")[2])

    def costs_and_discounts(self) -> tuple[list[float], list[float]]:
        """The cost of halting at segment 1..K, and the discount that it applies to the action's value."""
        if not self.learned:
            return [0.0] * self.segments, [1.0] * self.segments
        discounts = [self.gamma_think**k for k in range(self.segments)]
        costs = [self.segment_cost * sum(discounts[:k]) for k in range(self.segments)]
        return costs, discounts


@dataclass(frozen=True)
class _Stored:
    """The content of a network's config.json."""

    kind: Literal["hrm_q_network"]
    actions: int
    core: CoreConfig
    thinking: ThinkingConfig
    value_scale: float
    tokens: Mapping[str, Any]

    def check_sizes(self, tensors: Mapping[str, Tensor], name: str) -> None:
        """Raise ValueError, before a network takes memory, if the tensors of its core differ, or for too many
        tokens."""
        if self.core.H_layers + self.core.L_layers > len(tensors):
            raise ValueError(f"its layers are more than the {len(tensors)} tensors")
        if self.tokens.get("max_tokens", 1) not in range(1, _MOST_TOKENS + 1):
            raise ValueError(f"tokens.max_tokens must be an integer from 1 to {_MOST_TOKENS}")
        with torch.device("meta"):
            wanted = HRMCore(self.core).state_dict()
            wanted |= nn.Linear(self.core.hidden_size, self.actions).state_dict(prefix="action_head.")
        core = {key.removeprefix("core."): tensor for key, tensor in tensors.items()}
        check_fit(wanted, {key: core[key] for key in wanted if key in core}, name)


class SegmentValues(NamedTuple):
    """The values after one segment."""

    q_action: Tensor  # [B, A]: of halting here and taking each action
    q_continue: Tensor  # [B]: of thinking on
    carry: Carry  # [B, tokens, D], detached


class Values(NamedTuple):
    """The values after each of K segments."""

    q_action: Tensor  # [B, K, A]
    q_continue: Tensor  # [B, K]; the last column has no meaning


class HaltedValues(NamedTuple):
    """The values after the segment at which each row halted."""

    q_action: Tensor  # [B, A]
    segments: Tensor  # [B] int64, 1..K: number of segments run
    value: Tensor  # [B]: under greedy halting and acting, less the cost of thinking
    carry: Carry  # [B, tokens, D]


class HRMQNetwork(nn.Module):
    """Observation tokens, an `HRMCore`, and two linear heads on its summary token z_H[:, 0].

    Observations are batched tensors, nested like the space, as `ToTorch` environments return them or
    `hrm_rl.agents.tokenizer.to_tensors` makes from NumPy arrays. The heads read states of unit mean
    square (the core's last operation is RMSNorm), which is the normalisation that learning without a
    target network needs (arXiv 2407.04811).

    Args:
        space: of a single observation.
        actions: A, the number of actions.
        core: architecture; a small one by default.
        thinking: halting, and the carry between steps.
        value_scale: unit of the heads; see `HRMPQNConfig.value_scale`.
        tokens: options of `ObsTokenizer`: kinds, patch_size, max_tokens.

    Raises ValueError for a space that the tokenizer cannot read, or a setting out of range.
    """

    def __init__(
        self,
        space: spaces.Space,
        actions: int,
        core: CoreConfig | None = None,
        thinking: ThinkingConfig | None = None,
        *,
        value_scale: float = 1.0,
        **tokens: Any,
    ) -> None:
        super().__init__()
        self.actions, self.value_scale = actions, value_scale
        check_integers(self, 1, "actions")
        check_interval(self, "(0, inf)", "value_scale")
        core, self.thinking = core or CoreConfig(), thinking or ThinkingConfig()
        self._tokens = tokens
        self.tokenizer = ObsTokenizer(space, core.hidden_size, **tokens)
        self.core = HRMCore(core)
        self.action_head = nn.Linear(core.hidden_size, actions)
        self.continue_head = nn.Linear(core.hidden_size, 1)

    def initial_carry(self, rows: int) -> Carry:
        """A fresh carry, [rows, tokens, D]."""
        return self.core.initial_carry(rows, self.tokenizer.num_tokens)

    def reset(self, carry: Carry, where: Tensor) -> Carry:
        """The carry with the rows of `where` (bool [B]) fresh."""
        return self.core.reset(carry, where)

    def heads(self, summary: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the actions [B, A] and of thinking on [B] from the summary token's state [B, D]."""
        q_continue = self.value_scale * self.continue_head(summary)[:, 0]
        return self.value_scale * self.action_head(summary), q_continue

    def segments(self, obs: Any, carry: Carry | None = None, keep: bool = True) -> Iterator[SegmentValues]:
        """Think segment by segment, up to K; from a fresh carry if none is given. Without `keep` the carry of
        the last has no meaning."""
        x = self.tokenizer(obs)
        if carry is None:
            carry = self.initial_carry(len(x))
        for left in reversed(range(self.thinking.segments)):
            carry, z_H = self.core(carry, x, read=None if keep or left else 1)
            yield SegmentValues(*self.heads(z_H[:, 0]), carry)

    def forward(self, obs: Any, carry: Carry | None = None) -> Values:
        """The values of all K segments, each with the gradient of its segment: the carry is detached."""
        q_action, q_continue, _ = zip(*self.segments(obs, carry, keep=False), strict=True)
        return Values(torch.stack(q_action, 1), torch.stack(q_continue, 1))

    @torch.no_grad()
    def think(
        self,
        obs: Any,
        carry: Carry | None = None,
        *,
        epsilon: float = 0.0,
        generator: torch.Generator | None = None,
        stop_early: bool = False,
    ) -> HaltedValues:
        """Run segments on each observation until acting is worth at least as much as thinking on.

        Args:
            obs: a batch.
            carry: the carry to continue from.
            epsilon: the probability, for each row by itself, of halting instead at a segment drawn
                uniformly from 1..K (under `learned`).
            generator: of those draws.
            stop_early: end when no row needs another segment for its action or its value. This
                synchronises with the device after each segment.
        """
        halted = draws = None
        costs, discounts = self.thinking.costs_and_discounts()
        steps = zip(costs, discounts, self.segments(obs, carry), strict=True)
        for k, (cost, discount, segment) in enumerate(steps, 1):
            best = segment.q_action.amax(-1)
            value = discount * best - cost
            if halted is None:
                running = greedy = torch.ones_like(best, dtype=torch.bool)
                if epsilon and self.thinking.learned:
                    draws = torch.rand(len(best), 2, generator=generator, device=best.device)
                halted = HaltedValues(segment.q_action, running.long(), value, segment.carry)
            else:
                halted = HaltedValues(
                    torch.where(running[:, None], segment.q_action, halted.q_action),
                    torch.where(running, k, halted.segments),
                    torch.where(greedy, value, halted.value),
                    halted.carry.replace_rows(running, segment.carry),
                )
            goes_on = segment.q_continue > best
            if not self.thinking.learned:
                goes_on = torch.ones_like(goes_on)
            greedy = greedy & goes_on
            if draws is not None:
                length = (draws[:, 1] * len(costs)).long() + 1
                goes_on = torch.where(draws[:, 0] < epsilon, length > k, goes_on)
            running = running & goes_on
            # A row that halted early at random may still need its greedy value.
            if stop_early and not (running if draws is None else running | greedy).any():
                break
        assert halted is not None
        return halted

    def check_space(self, space: spaces.Space) -> None:
        """Raise ValueError, naming the part that differs, if `space` has other tokens than the network's."""
        with torch.random.fork_rng(devices=[]):
            other = ObsTokenizer(space, self.core.config.hidden_size, **self._tokens)
        other.set_extra_state(self.tokenizer.get_extra_state())

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors into a folder, each whole or not at all."""
        config = {
            "kind": _KIND,
            "actions": self.actions,
            "core": self.core.config.to_dict(),
            "thinking": asdict(self.thinking),
            "value_scale": self.value_scale,
            "tokens": self._tokens,
        }
        write_folder(config, self.state_dict(), directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str], space: spaces.Space) -> "HRMQNetwork":
        """Load a network that `save` wrote, for observations of `space`.

        Raises FileNotFoundError for a missing file, ValueError for a damaged one or, naming the part that
        differs, for a network trained on other observations.
        """
        folder = Path(directory)
        settings, tensors = read_folder(folder)
        with reading(folder / CONFIG_FILE, "for an HRMQNetwork on these observations"):
            stored = restore(_Stored, settings)

            stored.check_sizes(tensors, str(folder))
            options: Any = {**stored.tokens, "value_scale": stored.value_scale}
            network = cls(space, stored.actions, stored.core, stored.thinking, **options)
        try:
            network.load_state_dict(tensors)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{directory} does not fit: {' '.join(str(error).split())}") from None
        return network
