"""Segments a second of training by 1, 2, ... processes at one global batch: JSON lines.

    python benchmarks/ranks.py [--ranks 1 2] [--rows 256] [--steps 20] [--rounds 3] [--sharding full]

Rounds alternate between the numbers of ranks; medians count. `efficiency` is the speed-up over ranks, where
each has a processor of its own; `cores` says how many there are. `megabytes` is what a rank sends a step:
gradients and rows, by the formula of docs/scaling.md.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
import tyro

from hrm_rl.agents import LearnerConfig, make_learner
from hrm_rl.distributed.ranks import current
from hrm_rl.distributed.sharding import shard
from hrm_rl.envs import PuzzleVectorEnv
from hrm_rl.model import HRM, HRMConfig
from hrm_rl.puzzles import sudoku

_ROW_BYTES = 26  # of one row's figures


@dataclass(frozen=True)
class Args:
    """Settings."""

    ranks: tuple[int, ...] = (1, 2)
    """Numbers of processes."""
    rows: int = 256
    """Global batch size."""
    width: int = 128
    """Hidden size of the model, on 4x4 Sudokus."""
    steps: int = 20
    """Training steps that are timed."""
    rounds: int = 3
    """Runs of each number."""
    sharding: Literal["none", "full"] = "none"
    """Whether several ranks divide the model."""


def main(args: Args) -> None:
    seconds: dict[int, list[float]] = {count: [] for count in args.ranks}
    for _ in range(args.rounds):
        for count in args.ranks:
            seconds[count].append(run(args, count))
    base = statistics.median(seconds[args.ranks[0]]) * args.ranks[0]
    weights = build(args)[0].num_parameters()
    for count, times in seconds.items():
        median = statistics.median(times)
        ring = 2 * 4 * weights * (count - 1) / count
        line = {
            "ranks": count,
            "segments_per_second": args.rows * args.steps / median,
            "efficiency": base / (count * median),
            "megabytes": (ring + _ROW_BYTES * args.rows * (count - 1) / count) / 1e6,
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        }
        print(json.dumps(line))


def run(args: Args, count: int) -> float:
    """Seconds of the steps, by `count` processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "BENCH_RANKS": json.dumps(vars(args))}
    command = [sys.executable, __file__]
    processes = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit("a rank failed")
    return float(outputs[0])


def rank(args: Args) -> None:
    """One process: prints the seconds that it took."""
    torch.distributed.init_process_group("gloo")
    ranks = current()
    model, envs = build(args, ranks.share(args.rows))
    if args.sharding == "full" and ranks.count > 1:
        shard(model, dtype=model.dtype)
    learner = make_learner(model, envs.num_envs, LearnerConfig(), ranks=ranks)
    obs, info = envs.reset(seed=ranks.numbers(args.rows).tolist())
    for step in range(args.steps + 2):
        if step == 2:  # two to warm up
            ranks.largest(0)
            start = time.perf_counter()
        out, action = learner.act(obs)
        next_obs, _, terminated, _, next_info = envs.step(action)
        learner.learn(out, obs, info["labels"], terminated, next_info)
        obs, info = next_obs, next_info
    ranks.largest(0)
    print(time.perf_counter() - start)
    torch.distributed.destroy_process_group()


def build(args: Args, rows: int = 1) -> tuple[HRM, PuzzleVectorEnv]:
    torch.manual_seed(0)
    puzzles = sudoku.generate(100, size=4)
    shape: Any = {"vocab_size": 6, "seq_len": 16, "hidden_size": args.width, "num_heads": 4}
    shape |= {"H_layers": 2, "L_layers": 2, "puzzle_emb_ndim": 0, "forward_dtype": "float32"}
    envs = PuzzleVectorEnv.from_arrays(rows, puzzles.inputs, puzzles.labels, vocab_size=6, halt_max_steps=16)
    return HRM(HRMConfig(**shape)), envs


if __name__ == "__main__":
    if "BENCH_RANKS" in os.environ:
        rank(Args(**json.loads(os.environ["BENCH_RANKS"])))
    else:
        main(tyro.cli(Args))
