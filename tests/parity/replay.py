"""Replay a recorded run of the reference implementation through this package, and compare.

    python tests/parity/replay.py FIXTURE.safetensors

The run goes through the shipped environment core, learner and optimizers: what the fixture offers as
batch T + 1 is what the environment draws as candidates after step T. Prints the largest error of
each quantity, max|a - b| / max|b|, and exits with 1 where one is over its tolerance.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hrm_rl.agents import HRMAgent, Learner, LearnerConfig
from hrm_rl.envs import Puzzles, PuzzleVectorEnv
from hrm_rl.model import HRM

BEFORE_UPDATE, AFTER_UPDATE = 1e-4, 1e-3
LOSSES = {"stablemax_cross_entropy": "stablemax", "softmax_cross_entropy": "softmax"}


class Fixture:
    """The tensors of a recorded run; remembers which were read, so that none is left uncompared."""

    def __init__(self, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
        self.tensors, self.meta = tensors, meta
        self.unread = set(tensors)

    @classmethod
    def load(cls, path: str | Path) -> "Fixture":
        with safe_open(path, "pt") as file:
            meta = json.loads((file.metadata() or {})["meta"])
            return cls({key: file.get_tensor(key) for key in file.keys()}, meta)  # noqa: SIM118

    def __getitem__(self, key: str) -> Tensor:
        self.unread.discard(key)
        return self.tensors[key]

    def under(self, prefix: str) -> dict[str, Tensor]:
        keys = [key for key in self.tensors if key.startswith(prefix)]
        return {key.removeprefix(prefix): self[key] for key in keys}

    def tokens(self, key: str) -> Tensor:
        tensor = self[key]
        if tensor.is_floating_point():
            raise ValueError(f"{key} holds no integers")
        return tensor


class ReplaySource:
    """Offers the recorded batches one draw after another, the last one again and again."""

    validator = None

    def __init__(self, fixture: Fixture, only_last: bool = False) -> None:
        config = fixture.meta["config"]
        self.vocab_size, self.seq_len = config["vocab_size"], config["seq_len"]
        self.num_ids = config["num_puzzle_identifiers"]
        steps = range(fixture.meta["steps"])
        self.batches = [
            Puzzles(
                fixture.tokens(f"step{t}.batch.inputs").int(),
                fixture.tokens(f"step{t}.batch.labels").int(),
                fixture.tokens(f"step{t}.batch.puzzle_identifiers").long(),
                torch.full((fixture.meta["batch"],), torch.nan),
            )
            for t in steps
        ][-1 if only_last else 0 :]
        self.draws = 0

    def draw(self, keys: Tensor) -> Puzzles:
        batch = self.batches[min(self.draws, len(self.batches) - 1)]
        self.draws += 1
        return batch


class RecordingLearner(Learner):
    """The shipped learner, keeping the gradients of its first update."""

    first_gradients: dict[str, Tensor] | None = None

    def apply_gradients(self) -> None:
        if self.first_gradients is None:
            self.first_gradients = {}
            for name, parameter in self.model.named_parameters():
                grad = parameter.grad
                assert grad is not None, name
                rows = name == "puzzle_emb.weights"
                self.first_gradients[name] = (grad._values() if rows else grad).clone()
        super().apply_gradients()


class Errors:
    """Largest difference and largest magnitude of each quantity."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[float, float, float]] = {}

    def add(self, quantity: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
        if ours.shape != theirs.shape:
            raise ValueError(f"{quantity}: shape {tuple(ours.shape)} for {tuple(theirs.shape)}")
        a, b = ours.detach().double(), theirs.double()
        difference = (a - b).abs().max().item()
        if not theirs.is_floating_point():
            tolerance = 0.0
        worst, scale, _ = self.rows.get(quantity, (0.0, 0.0, tolerance))
        # NaN anywhere must not pass as small.
        difference = float("inf") if difference != difference else difference
        self.rows[quantity] = (max(worst, difference), max(scale, b.abs().max().item()), tolerance)

    def relative(self, quantity: str) -> float:
        worst, scale, _ = self.rows[quantity]
        return worst if scale == 0 else worst / scale

    def failures(self) -> list[str]:
        return [q for q, (_, _, tolerance) in self.rows.items() if self.relative(q) > tolerance]


def replay(fixture: Fixture) -> Errors:
    """Run the recorded steps and the recorded evaluation; every tensor of the file is compared."""
    meta = fixture.meta
    optimizer, table = meta["optimizer"], meta["puzzle_embedding"]
    model = HRM.from_reference(fixture.under("init."), meta["config"], meta["config"]["seq_len"])
    source = ReplaySource(fixture)
    envs = PuzzleVectorEnv(meta["batch"], source, halt_max_steps=model.config.halt_max_steps)
    source.draws = 0  # the environments have drawn once to check it, and this source counts
    learner = RecordingLearner(
        model,
        meta["batch"],
        LearnerConfig(
            optimizer="adam-atan2",
            lr=optimizer["lr"],
            weight_decay=optimizer["weight_decay"],
            betas=tuple(optimizer["betas"]),
            puzzle_emb_lr=table["lr"],
            puzzle_emb_weight_decay=table["weight_decay"],
            warmup_steps=0,
            token_loss=LOSSES[meta["loss_type"]],
        ),
    )
    errors = Errors()
    obs, info = envs.reset(seed=0)
    for t in range(meta["steps"]):
        out, action = learner.act(obs)
        next_obs, _, terminated, _, next_info = envs.step(action)
        metrics = learner.learn(out, obs, info["labels"], terminated, next_info)
        ours = {
            "logits": out.logits,
            "q_halt_logits": out.q_halt,
            "q_continue_logits": out.q_continue,
            "target_q_continue": metrics["q_target"],
            "z_H": out.carry.z_H,
            "z_L": out.carry.z_L,
            "halted": terminated,
            "steps": next_info["segments"],
            "labels_in_use": info["labels"],
        }
        for name, value in ours.items():
            key, late = f"step{t}.{name}", f"step*.{name}"
            if key in fixture.tensors:
                if t == 0:
                    errors.add(f"step0.{name}", value, fixture[key], BEFORE_UPDATE)
                errors.add(late, value, fixture[key], AFTER_UPDATE)
        ended = metrics["ended"]
        recorded = meta["metrics"][t]
        batch = meta["batch"]
        sums = {
            "count": ended.sum(),
            "accuracy": metrics["cell_accuracy"][ended].sum(),
            "exact_accuracy": metrics["correct"][ended].sum(),
            "q_halt_accuracy": ((metrics["q_halt"] >= 0) == metrics["correct"])[ended].sum(),
            "steps": metrics["segments"][ended].sum(),
            "lm_loss": metrics["token_loss"] * batch,
            "q_halt_loss": metrics["q_halt_loss"] * batch,
            "q_continue_loss": metrics["q_continue_loss"] * batch,
            "loss": metrics["loss"] * batch,
        }
        for name, value in sums.items():
            if name in recorded:
                theirs = torch.tensor(recorded[name], dtype=torch.float64)
                errors.add(f"metrics.{name}", value, theirs, AFTER_UPDATE)
        obs, info = next_obs, next_info
    assert learner.first_gradients is not None
    ours_grad = {f"inner.{name}": grad for name, grad in learner.first_gradients.items()}
    if "inner.puzzle_emb.weights" in ours_grad:
        ours_grad["puzzle_emb_rows"] = ours_grad.pop("inner.puzzle_emb.weights")
    for name, theirs in fixture.under("step0.grad.").items():
        errors.add(f"step0.grad.{name}", ours_grad[name], theirs, BEFORE_UPDATE)
    final = fixture.under("final.")
    for name, value in model.state_dict().items():
        errors.add(f"final.{name}", value, final[f"inner.{name}"], AFTER_UPDATE)
    evaluate(fixture, final, errors)
    for key in fixture.unread:
        errors.rows[f"{key} (not compared)"] = (float("inf"), 1.0, 0.0)
    return errors


def evaluate(fixture: Fixture, final: dict[str, Tensor], errors: Errors) -> None:
    """The `final` weights on the last batch, every segment to the limit."""
    config = fixture.meta["config"]
    model = HRM.from_reference(final, config, config["seq_len"])
    limit = config["halt_max_steps"]
    source = ReplaySource(fixture, only_last=True)
    envs = PuzzleVectorEnv(fixture.meta["batch"], source, halt_max_steps=limit, autoreset_mode="Disabled")
    agent = HRMAgent(model, f"fixed:{limit}")
    obs, _ = envs.reset(seed=0)
    state = None
    for m in range(limit):
        decision = agent.act(obs, state)
        key = f"eval.segment{m}."
        predictions = fixture.tokens(key + "predictions")
        errors.add("eval.predictions", decision.action["answer"], predictions, 0.0)
        for name, value in (("halt", decision.out.q_halt), ("continue", decision.out.q_continue)):
            theirs = fixture[f"{key}q_{name}_logits"]
            errors.add(f"eval.q_{name}_logits", value, theirs, AFTER_UPDATE)
        obs, state = envs.step(decision.action)[0], decision.state
    errors.add("eval.logits", decision.out.logits, fixture["eval.logits"], AFTER_UPDATE)


def main(path: str) -> int:
    try:
        errors = replay(Fixture.load(path))
    except (KeyError, ValueError, OSError, RuntimeError, IndexError, SafetensorError) as error:
        print(f"{path}: the replay cannot run: {type(error).__name__} {error}", file=sys.stderr)
        return 1
    for quantity, (_, _, tolerance) in sorted(errors.rows.items()):
        relative = errors.relative(quantity)
        verdict = "over" if relative > tolerance else "ok"
        print(f"{quantity:58s} {relative:9.2e}  (<= {tolerance:.0e})  {verdict}")
    failures = errors.failures()
    print(f"{path}: {len(failures)} of {len(errors.rows)} quantities over their tolerance")
    return 1 if failures else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/parity/replay.py FIXTURE.safetensors")
    sys.exit(main(sys.argv[1]))
