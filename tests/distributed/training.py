"""What one process and the ranks of a job both run: `python training.py OUT.pt [full]` under torchrun's
variables.

Rank 0 writes what it saw. The test runs `everything` itself, alone, and compares.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import torch

from hrm_rl.agents import LearnerConfig, make_learner
from hrm_rl.distributed.ranks import current
from hrm_rl.distributed.sharding import gathered, load, shard
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.evaluation import evaluate, record
from hrm_rl.evaluation.arc import vote
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import arc, sudoku
from hrm_rl.training.average import WeightAverage

TASKS = Path(__file__).parents[1] / "puzzles" / "arc_tasks"
SHARDED = sys.argv[2:] == ["full"]
STEPS, ROWS, IDS = 10, 16, 5
LEARNERS: dict[str, dict[str, Any]] = {
    "full": {},
    "in float32": {"dtype": "float32"},
    "adamw, explored once an episode": {"optimizer": "adamw", "exploration": "episode"},
    "delayed": {"q_target": "delayed"},
    "lambda, with noise": {"q_target": "lambda:0.5", "random_start": True, "path_noise": 0.1},
    "subsample": {"q_target": "subsample:0.25"},
    "act": {"halting_loss": "act"},
    "ponder, all gradients": {"halting_loss": "ponder", "gradient": "full"},
    "the puzzle embedding alone": {"train_only": "puzzle-embedding"},
}


def everything() -> dict[str, Any]:
    """Figures, rows and weights of a training by every learner."""
    found = {name: trained(settings) for name, settings in LEARNERS.items()}
    return found if SHARDED else found | {"judged": judged()}


def judged() -> dict[str, Any]:
    """The columns of an evaluation, a bank and a vote, on numbers of puzzles that the ranks cannot divide."""
    ranks, model = current(), begin({"dtype": "float32"})[0]
    some = sudoku.generate(13, size=4, seed=2)
    found = evaluate(model, some, "random:0.4", batch_size=2, ranks=ranks)
    bank = record(model, some, 3, batch_size=4, pooled=True, drafts=True, ranks=ranks)
    table = arc.ArcTable(arc.augment(arc.read_folder(TASKS), 1), "evaluation")
    torch.manual_seed(0)
    shape = {"vocab_size": 12, "seq_len": 900, "hidden_size": 16, "puzzle_emb_ndim": 16, "H_cycles": 1}
    shape |= {"num_heads": 2, "num_puzzle_identifiers": table.augmented.num_ids, "halt_max_steps": 2}
    arc_model = HRM(HRMConfig(**shape, H_layers=1, L_layers=1, forward_dtype="float32"))
    voting = vote(arc_model, table, "fixed:2", rows=range(7), batch_size=2, ranks=ranks)
    columns = {k: v for k, v in vars(found).items() if k in ("answers", "q_halt", "correct", "segments")}
    columns |= {"drafts": bank.drafts, "pooled": bank.pooled_z_H, **bank.features}
    tensors = {name: torch.from_numpy(column) for name, column in columns.items()}
    return tensors | {"votes": voting.votes, "score": voting.score()}


def trained(settings: dict[str, Any]) -> dict[str, Any]:
    """Train with puzzle embeddings whose identifiers lie on several ranks; stop in the middle of an episode,
    and go on from the state."""
    ranks, seen = current(), []
    model, average, envs, learner = begin(settings)
    obs, info = envs.reset(seed=[3 + row for row in ranks.numbers(ROWS).tolist()])
    for step in range(STEPS):
        if step == STEPS // 2:
            states = learner.state_dict(), ranks.whole_state(envs.state_dict()), whole(model)
            model, _, envs, learner = begin(settings)
            load(model, states[2])
            learner.load_state_dict(states[0])
            envs.load_state_dict(ranks.own_state(states[1]))
            average.follow(model)
            obs, info = envs.current()
        out, action = learner.act(obs)
        next_obs, _, terminated, _, next_info = envs.step(action)
        update = learner.learn(out, obs, info["labels"], terminated, next_info)
        obs, info = next_obs, next_info
        average.update()
        seen.append({name: tensor.clone() for name, tensor in update.tensors().items()})
    return {
        "steps": seen,
        "weights": whole(model),
        "average": whole(average.model),
        "state": learner.state_dict(),
        "episodes": ranks.whole_state(envs.state_dict()),
    }


def whole(model: HRM) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in gathered(model.state_dict()).items()}


def begin(settings: dict[str, Any]) -> tuple[HRM, WeightAverage, PuzzleVectorEnv, Any]:
    """A model in float64, where the order of a sum does not show, its average, environments and learner."""
    settings = dict(settings)
    dtype = settings.pop("dtype", "float64")
    torch.manual_seed(0)
    model = HRM(
        HRMConfig(
            vocab_size=6,
            seq_len=16,
            hidden_size=32,
            num_heads=2,
            H_layers=1,
            L_layers=1,
            puzzle_emb_ndim=32,
            num_puzzle_identifiers=IDS,
            halt_max_steps=3,
            halt_exploration_prob=0.5,
            forward_dtype=dtype,
        )
    ).to(getattr(torch, dtype))
    # Not at its initial values, so that rows halt at different segments.
    torch.nn.init.normal_(model.q_head.weight, std=0.3)
    model.q_head.bias.data.zero_()
    torch.nn.init.normal_(model.puzzle_emb.weights)
    ranks, puzzles = current(), sudoku.generate(40, size=4, seed=1)
    config = LearnerConfig(lr=3e-4, puzzle_emb_lr=1e-2, warmup_steps=3, seed=7)
    config = dataclasses.replace(config, **settings)
    rows = ranks.share(ROWS)
    envs = PuzzleVectorEnv.from_arrays(
        rows,
        puzzles.inputs,
        puzzles.labels,
        vocab_size=6,
        puzzle_identifiers=torch.arange(40).numpy() % IDS,
        halt_max_steps=3,
    )
    average = WeightAverage(model, 0.9)
    if SHARDED:
        for one in (model, average.model):
            shard(one, dtype=one.dtype, whole=one.puzzle_emb.parameters())
        average.follow(model)
    return model, average, envs, make_learner(model, rows, config, ranks=ranks)


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    found = everything()
    if current().first:
        torch.save(found, Path(sys.argv[1]))
    torch.distributed.barrier()  # no rank leaves while another works: gloo aborted at the end at times
    torch.distributed.destroy_process_group()
