"""Action values from an HRM, for ordinary environments, and how long it thinks for each observation.

Every reasoning segment on an observation gives the value of each action, read from z_H[:, 0]: what
halting is worth. Beside them stands what thinking on is worth. Halting never changes the environment,
so all segments of an observation can be learned from at once, whichever of them acted.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from gymnasium import spaces
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hrm_rl.agents.tokenizer import ObsTokenizer
from hrm_rl.model import CoreConfig, HRMCore
from hrm_rl.model.files.weights import write_tensors, write_whole
from hrm_rl.model.recurrence import Carry

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_KIND = "hrm_q_network"


@dataclass(frozen=True)
class ThinkingConfig:
    """How long an agent thinks about an observation, and what thinking costs it.

    Raises ValueError, naming the field, where a value is out of range.
    """

    halting: str = "learned"
    """`learned`: halt where the best action is worth as much as thinking on. `fixed:N`: N segments."""
    max_segments: int = 4
    """Segments after which `learned` halts in any case."""
    segment_cost: float = 0.01
    """Reward that every segment after the first costs; under `learned` only, where there is a choice."""
    gamma_think: float = 1.0
    """Discount of a segment of thinking; under `learned` only."""
    carry: Literal["reset", "keep"] = "reset"
    """`reset`: every observation is thought about afresh. `keep`: from the carry that the last step
    halted with, so that the agent remembers; a new episode begins afresh."""

    def __post_init__(self) -> None:
        name, _, number = self.halting.partition(":")
        fixed = name == "fixed" and number.isdecimal() and int(number) >= 1
        if self.halting != "learned" and not fixed:
            raise ValueError(
                f"halting must be 'learned' or 'fixed:N', N >= 1, got {self.halting!r}"
            )
        most = self.max_segments
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ValueError(f"max_segments must be an integer >= 1, got {most!r}")
        if not 0 <= self.segment_cost < float("inf"):
            raise ValueError(f"segment_cost must be a number >= 0, got {self.segment_cost}")
        if not 0 <= self.gamma_think <= 1:
            raise ValueError(f"gamma_think must be in 0..1, got {self.gamma_think}")
        if self.carry not in ("reset", "keep"):
            raise ValueError(f"carry must be 'reset' or 'keep', got {self.carry!r}")

    @property
    def learned(self) -> bool:
        """Whether halting is learned."""
        return self.halting == "learned"

    @property
    def segments(self) -> int:
        """K, the most segments there can be."""
        return self.max_segments if self.learned else int(self.halting.partition(":")[2])

    def tolls(self) -> tuple[list[float], list[float]]:
        """What halting at segment 1..K has cost, and what it has discounted the actions' values by."""
        if not self.learned:
            return [0.0] * self.segments, [1.0] * self.segments
        shrink = [self.gamma_think**k for k in range(self.segments)]
        return [self.segment_cost * sum(shrink[:k]) for k in range(self.segments)], shrink


class SegmentValues(NamedTuple):
    """What one segment says."""

    q_action: Tensor  # [B, A]: of halting here and doing each action
    q_continue: Tensor  # [B]: of thinking on
    carry: Carry  # [B, tokens, D], detached


class Values(NamedTuple):
    """What all K segments say."""

    q_action: Tensor  # [B, K, A]
    q_continue: Tensor  # [B, K]; the last column means nothing


class Thought(NamedTuple):
    """Where thinking about a batch of observations has led."""

    q_action: Tensor  # [B, A], of the segment that halted
    segments: Tensor  # [B] int64, 1..K: how many ran
    value: Tensor  # [B]: of the observation when halting and acting greedily, thinking paid for
    carry: Carry  # [B, tokens, D], of the segment that halted


class HRMQNetwork(nn.Module):
    """Observation tokens, an `HRMCore`, and two linear heads on its summary token z_H[:, 0].

    Observations are batched tensors, nested as the space is: what `ToTorch` environments return, or
    `hrm_rl.agents.tokenizer.to_tensors` makes of NumPy. The heads see states of unit mean square (the
    core's last operation is RMSNorm), which is the normalisation that learning without a target
    network asks for (arXiv 2407.04811).

    Args:
        space: of a single observation.
        actions: A, how many there are.
        core: architecture; a small one by default.
        thinking: halting, and the carry between steps.
        value_scale: the heads speak in units of it; see `HRMPQNConfig.value_scale`.
        kinds, patch_size, max_tokens: of the `ObsTokenizer`.

    Raises:
        ValueError: the space has no tokens, or a setting does not go with it.
    """

    def __init__(
        self,
        space: spaces.Space,
        actions: int,
        core: CoreConfig | None = None,
        thinking: ThinkingConfig | None = None,
        *,
        value_scale: float = 1.0,
        kinds: Mapping[str, str] | str | None = None,
        patch_size: Mapping[str, int] | int | None = None,
        max_tokens: int = 256,
    ) -> None:
        super().__init__()
        if actions < 1:
            raise ValueError(f"actions must be >= 1, got {actions}")
        if not 0 < value_scale < float("inf"):
            raise ValueError(f"value_scale must be a number > 0, got {value_scale}")
        core = core or CoreConfig()
        self.actions, self.thinking = actions, thinking or ThinkingConfig()
        self.value_scale = value_scale
        self._tokens: dict[str, Any] = {
            "kinds": kinds,
            "patch_size": patch_size,
            "max_tokens": max_tokens,
        }
        self.tokenizer = ObsTokenizer(space, core.hidden_size, **self._tokens)
        self.core = HRMCore(core)
        self.action_head = nn.Linear(core.hidden_size, actions)
        self.continue_head = nn.Linear(core.hidden_size, 1)

    def initial_carry(self, rows: int) -> Carry:
        """A fresh carry, [rows, tokens, D]."""
        return self.core.initial_carry(rows, self.tokenizer.num_tokens)

    def reset(self, carry: Carry, where: Tensor) -> Carry:
        """The carry with the rows of `where` (bool [B]) fresh."""
        return self.core.reset(carry, where)

    def segments(self, obs: Any, carry: Carry | None = None) -> Iterator[SegmentValues]:
        """Think, segment by segment, up to K; from a fresh carry where none is given."""
        x = self.tokenizer(obs)
        if carry is None:
            carry = self.initial_carry(len(x))
        for _ in range(self.thinking.segments):
            carry, z_H = self.core(carry, x)
            summary = z_H[:, 0]
            q_action = self.value_scale * self.action_head(summary)
            q_continue = self.value_scale * self.continue_head(summary)[:, 0]
            yield SegmentValues(q_action, q_continue, carry)

    def forward(self, obs: Any, carry: Carry | None = None) -> Values:
        """All K segments' values, each with its own segment's gradient: the carry is detached."""
        q_action, q_continue, _ = zip(*self.segments(obs, carry), strict=True)
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
    ) -> Thought:
        """Think about each observation for as long as it is worth it; no host synchronisation.

        Args:
            obs: a batch.
            carry: to think on from.
            epsilon: the probability, for each row by itself, that it halts at a segment drawn
                uniformly from 1..K instead (under `learned`).
            generator: of those draws.
            stop_early: run no segment that no row wants, for its action or its value, which asks the
                device after each.
        """
        tolls, shrinks = self.thinking.tolls()
        thought = wandering = None
        for k, (toll, shrink, segment) in enumerate(
            zip(tolls, shrinks, self.segments(obs, carry), strict=True), 1
        ):
            best = segment.q_action.amax(-1)
            value = shrink * best - toll
            if thought is None:
                rows = len(best)
                running = greedy = torch.ones(rows, dtype=torch.bool, device=best.device)
                if epsilon and self.thinking.learned:
                    wandering = torch.rand(rows, 2, generator=generator, device=best.device)
                thought = Thought(segment.q_action, running.long(), value, segment.carry)
            else:
                thought = Thought(
                    torch.where(running[:, None], segment.q_action, thought.q_action),
                    torch.where(running, k, thought.segments),
                    torch.where(greedy, value, thought.value),
                    _select(running, segment.carry, thought.carry),
                )
            goes_on = self._goes_on(best, segment.q_continue)
            greedy = greedy & goes_on
            if wandering is not None:
                drawn = (wandering[:, 1] * len(tolls)).long() + 1
                goes_on = torch.where(wandering[:, 0] < epsilon, drawn > k, goes_on)
            running = running & goes_on
            # Whoever halted early by chance may still be looking for its greedy value.
            if stop_early and not (running if wandering is None else running | greedy).any():
                break
        assert thought is not None
        return thought

    def _goes_on(self, best: Tensor, q_continue: Tensor) -> Tensor:
        if self.thinking.learned:
            return q_continue > best
        return torch.ones_like(best, dtype=torch.bool)

    def check_space(self, space: spaces.Space) -> None:
        """Raises ValueError, saying which part differs, where observations of `space` make other
        tokens than those that this network was made for."""
        width = self.core.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            other = ObsTokenizer(space, width, **self._tokens)
        other.set_extra_state(self.tokenizer.get_extra_state())

    # --- in files --------------------------------------------------------------------------------

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors into a folder, each whole or not at all."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "kind": _KIND,
            "actions": self.actions,
            "core": self.core.config.to_dict(),
            "thinking": asdict(self.thinking),
            "value_scale": self.value_scale,
            "tokens": self._tokens,
        }
        write_tensors(folder / WEIGHTS_FILE, self.state_dict())
        write_whole(folder / CONFIG_FILE, json.dumps(config, indent=2) + "\n")

    @classmethod
    def load(cls, directory: str | os.PathLike[str], space: spaces.Space) -> "HRMQNetwork":
        """A network that `save` wrote, for observations of `space`.

        Raises:
            FileNotFoundError: there is no such folder, or a file is missing from it.
            ValueError: a file is damaged, or the network was trained on other observations; says
                which part of them differs.
        """
        folder = Path(directory)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no network: {name} is missing")
        network = _from_config(cls, folder / CONFIG_FILE, space)
        try:
            tensors = load_file(folder / WEIGHTS_FILE)
        except SafetensorError as error:
            raise ValueError(f"{folder / WEIGHTS_FILE} is damaged: {error}") from None
        try:
            network.load_state_dict(tensors)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"{folder} does not fit: {' '.join(str(error).split())}") from None
        return network


def _from_config(kind: type[HRMQNetwork], path: Path, space: spaces.Space) -> HRMQNetwork:
    """An untrained network of the settings in a file."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings["kind"] != _KIND:
            raise ValueError(f"it is of kind {settings['kind']!r}, not {_KIND!r}")
        actions, scale, tokens = (settings[key] for key in ("actions", "value_scale", "tokens"))
        core, thinking = CoreConfig(**settings["core"]), ThinkingConfig(**settings["thinking"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no network's configuration: {error!r}") from None
    try:
        return kind(space, actions, core, thinking, value_scale=scale, **tokens)
    except TypeError as error:
        raise ValueError(f"{path} is no network's configuration: {error!r}") from None


def _select(where: Tensor, new: Carry, old: Carry) -> Carry:
    rows = where.view(-1, 1, 1)
    return Carry(torch.where(rows, new.z_H, old.z_H), torch.where(rows, new.z_L, old.z_L))
