"""What a CUDA graph does, on a CPU: operations recorded below autograd, and run again without Python.

A replay runs the very operations of the recording on the very tensors: what was a Python number then is
a constant, what Python would do now is not done, and what is not written again is gone.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Operation:
    """One operation of a recording."""

    def __init__(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        self.written_to = given if func._schema.is_mutable else []
        self.results = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        sparse = any(t.is_sparse for t in (*given, *self.results))
        places = set() if sparse else {t.untyped_storage().data_ptr() for t in given}
        # The rest are the arguments themselves, or views of them.
        self.fresh = [not sparse and t.untyped_storage().data_ptr() not in places for t in self.results]

    def again(self) -> None:
        with unseen(*self.written_to):
            results = tree_leaves(self.func(*self.args, **self.kwargs))
        found = [t for t in results if isinstance(t, Tensor)]
        for held, new, fresh in zip(self.results, found, self.fresh, strict=True):
            if fresh:
                write(held, new)
            elif held.is_sparse:
                held._indices().copy_(new._indices())
                held._values().copy_(new._values())

    def forget(self) -> None:
        """Spoil what it had made: floats become NaN, integers an invalid index."""
        for held, fresh in zip(self.results, self.fresh, strict=True):
            if fresh:
                write(held, torch.tensor(torch.nan if held.is_floating_point() else -77))


def write(held: Tensor, new: Tensor) -> None:
    with unseen(held):
        held.copy_(new)


@contextmanager
def unseen(*tensors: Tensor) -> Iterator[None]:
    """Writes to them are unseen by autograd, as those of kernels that a graph launches are."""
    with ExitStack() as stack:
        for tensor in tensors:
            stack.enter_context(torch.autograd._unsafe_preserve_version_counter(tensor))
        yield


class Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append(Operation(func, args, kwargs or {}, result))
        return result


class Tape:
    """A `hrm_rl.kernels.graphs.Recorder`.

    Recordings share memory: a replay spoils all that it and later recordings had made, as a later one may
    have been given the memory of an earlier one's temporaries.
    """

    def __init__(self) -> None:
        self.recordings: list[Recording] = []
        self.replays = 0

    def warm_up(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        return work()

    def record(self, work: Callable[[], dict[str, Tensor]]) -> tuple[dict[str, Tensor], Callable[[], None]]:
        number = len(self.recordings)
        with Recording() as recording:
            outputs = work()
        self.recordings.append(recording)
        assert not any(t.requires_grad for t in outputs.values())

        @torch.no_grad()
        def again() -> None:
            self.replays += 1
            for later in self.recordings[number:]:
                for operation in later.operations:
                    operation.forget()
            for operation in recording.operations:
                operation.again()

        return outputs, again
