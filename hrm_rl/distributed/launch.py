"""A command line as one rank of a job: joining it, one voice for its messages, and the end if one fails."""

import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import Store

# Variables that torchrun sets for each process that it starts.
_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FAILED = "hrm_rl/failed"
_LEFT = "hrm_rl/left"
# Seconds that another rank leaves the first one to print an error that both have.
_PATIENCE = 3.0


def is_launched() -> bool:
    """Whether torchrun, or something that sets its variables, started this process."""
    return all(name in os.environ for name in _LAUNCHED)


def is_restarted() -> bool:
    """Whether `torchrun --max-restarts` started this job after a failure; all ranks must ask."""
    if not is_launched():
        return False
    from hrm_rl.distributed.ranks import current

    # Each machine counts the failures of its own processes.
    return current().largest(_attempt())[0] > 0


def _attempt() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def as_rank(run: Callable[[], int], *, together: bool) -> int:
    """Call `run`, a command that returns its exit code, as a rank of torchrun's job; without one, call it.
    A command that does not work `together` is refused.

    Only the first rank prints. If one fails alone, its last line is printed with its number; if one is lost,
    a single other one prints so, and the exit code is 1.
    """
    if not is_launched() or os.environ["WORLD_SIZE"] == "1":
        return run()
    if not together:
        if os.environ["RANK"] == "0":
            print("hrm-rl: torchrun is for train, eval and trace; start this without it", file=sys.stderr)
        return 2
    from hrm_rl.distributed.ranks import LostRank, current

    store = _join()
    ranks, voice, held = current(), sys.stderr, io.StringIO()
    try:
        if ranks.first:
            code = run()
        else:
            with redirect_stdout(io.StringIO()), redirect_stderr(held):
                code = run()
    except LostRank as error:
        if _is_first_to_fail(store):
            print(f"hrm-rl: {error}", file=voice)
        return 1
    if code == 0:
        _leave()
    elif ranks.first:
        _is_first_to_fail(store)
        _wait_for(store, ranks.count - 1)
    elif _is_first_to_fail(store, _PATIENCE):
        line = (held.getvalue().strip().splitlines() or ["hrm-rl: failed"])[-1]
        print(line.replace("hrm-rl:", f"hrm-rl: rank {ranks.rank} of {ranks.count}:", 1), file=voice)
    if code and not ranks.first:
        with suppress(RuntimeError):
            store.add(_LEFT, 1)
    return code


def refuse_shared_gpu(device: str) -> None:
    """Raise ValueError for a device that the ranks of this machine could not use, one each."""
    if not is_launched() or os.environ["WORLD_SIZE"] == "1" or device == "cpu":
        return
    import torch

    ranks, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if device != "cuda":
        raise ValueError(f"of several ranks each takes its GPU: device must be cuda or cpu, got {device}")
    if ranks > gpus:
        raise ValueError(
            f"{ranks} ranks need a GPU each and this machine has {gpus}: --nproc-per-node {gpus}, or "
            "--device cpu"
        )


def _join() -> "Store":
    """Join the job; returns the store that its ranks share."""
    import torch
    import torch.distributed as dist

    gpus = torch.cuda.device_count()
    if gpus > int(os.environ["LOCAL_RANK"]):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    store, rank, count = next(dist.rendezvous("env://"))
    if os.environ["LOCAL_WORLD_SIZE"] == str(count):
        # On one machine a restarted job may find the store of the last attempt. Several machines meet at a
        # new one (--rdzv-backend c10d).
        store = dist.PrefixStore(f"attempt {_attempt()}", store)
    # gloo for what lies on the host, also beside GPUs; NCCL opens with the first message between those.
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count)
    return store


def _leave() -> None:
    import torch.distributed as dist

    dist.destroy_process_group()


def _wait_for(store: "Store", others: int) -> None:
    """Wait until the other ranks have failed too, at most `_PATIENCE` seconds: the first rank may hold the
    store, and torch prints a warning in each process that asks a store which is gone."""
    with suppress(RuntimeError):
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end and store.add(_LEFT, 0) < others:
            time.sleep(0.05)


def _is_first_to_fail(store: "Store", patience: float = 0.0) -> bool:
    """Whether no rank has failed before this one, also in the next `patience` seconds."""
    with suppress(RuntimeError):  # the store ends with the machine, or the process, that holds it
        end = time.monotonic() + patience
        while time.monotonic() < end and not store.check([_FAILED]):
            time.sleep(0.05)
        return store.add(_FAILED, 1) == 1
    return True
