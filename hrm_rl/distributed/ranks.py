"""The processes of a job, and how they divide a batch: global row i belongs to rank i % count.

Neighbouring rows lie on different ranks, so a window of rows (`q_target subsample:P`) costs every rank the
same. Without a job there is one rank, `ALONE`, which sends nothing.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map


class LostRank(RuntimeError):
    """Another process of the job stopped answering."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of its job. Every method that sends must be called by all of them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes files and prints."""
        return self.rank == 0

    # --- rows of a global batch -----------------------------------------------------------------

    def share(self, rows: int) -> int:
        """This rank's number of rows of a batch. Raises ValueError if the ranks cannot have the same."""
        if rows % self.count:
            raise ValueError(
                f"batch_size must be a multiple of the {self.count} ranks, got {rows}; "
                f"the next is {rows + self.count - rows % self.count}"
            )
        return rows // self.count

    def numbers(self, rows: int) -> NDArray[np.int64]:
        """The numbers of this rank's rows; the last one repeats until all ranks have the same count."""
        each = -(-rows // self.count)
        return (np.arange(each) * self.count + self.rank).clip(max=rows - 1)

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This rank's rows of all of them; `dim` is their dimension."""
        if self.count == 1:
            return whole
        return whole[(slice(None),) * dim + (slice(self.rank, None, self.count),)].contiguous()

    def whole(self, *rows: Tensor) -> tuple[Tensor, ...]:
        """The rows of all ranks in their global order; every rank has the same number. One message."""
        if self.count == 1 or not rows:
            return rows
        packed = torch.cat([_bytes(tensor) for tensor in rows])
        parts = [torch.empty_like(packed) for _ in range(self.count)]
        with _answered():
            dist.all_gather(parts, packed)
        sizes = [tensor.nbytes for tensor in rows]
        columns = zip(*(part.split(sizes) for part in parts), strict=True)
        return tuple(
            # Cloned: a view in another dtype needs memory that is aligned.
            torch.stack([part.clone().view(like.dtype).view(like.shape) for part in column], 1).flatten(0, 1)
            for like, column in zip(rows, columns, strict=True)
        )

    def whole_state(self, state: Any, dim: int = 0) -> Any:
        """A nested state with the rows of all ranks; `dim` is their dimension in every tensor but scalars."""

        def whole(tensor: Tensor) -> Tensor:
            return self.whole(tensor.movedim(dim, 0))[0].movedim(0, dim)

        return tree_map(lambda t: whole(t) if _has_rows(t) else t, state)

    def own_state(self, state: Any, dim: int = 0) -> Any:
        """This rank's rows of a `whole_state`."""
        return tree_map(lambda t: self.own(t, dim) if _has_rows(t) else t, state)

    def whole_array(self, array: NDArray[Any], rows: int) -> NDArray[Any]:
        """The first `rows` rows of all ranks' arrays, each of its `numbers(rows)`."""
        if self.count == 1:
            return array
        flat = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        whole = self.whole(torch.from_numpy(flat))[0].numpy()[:rows]
        return np.ascontiguousarray(whole).view(array.dtype).reshape(rows, *array.shape[1:])

    # --- agreement --------------------------------------------------------------------------------

    def sum_(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums over the ranks, in one message; may write into `tensors`."""
        if self.count == 1 or not tensors:
            return list(tensors)
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _answered():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def largest(self, *numbers: Any) -> tuple[Any, ...]:
        """The largest of each number over the ranks, of the same type; waits for no GPU."""
        if self.count == 1:
            return numbers
        found = torch.tensor(numbers, dtype=torch.float64)
        with _answered():
            dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return tuple(type(own)(most) for own, most in zip(numbers, found.tolist(), strict=True))

    def text(self, text: str = "") -> str:
        """The first rank's text, on all of them."""
        if self.count == 1:
            return text
        (size,) = self.largest(len(text.encode()) if self.first else 0)
        line = torch.zeros(size, dtype=torch.uint8)
        if self.first:
            line = torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
        self.follow([line])
        return bytes(line.numpy()).decode()

    def follow(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors by the first rank's."""
        if self.count > 1:
            with _answered(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)


ALONE = Ranks()


def current() -> Ranks:
    """The ranks of this process's job, if it has joined one."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Ranks(dist.get_rank(), dist.get_world_size())


def on_first_rank(write: Callable[..., Any]) -> Callable[..., Any]:
    """A function that the first rank calls while the others wait; for them it returns None.

    If it raises, so do the others: FloatingPointError for FloatingPointError, else LostRank.
    """

    @functools.wraps(write)
    def call(*arguments: Any, **named: Any) -> Any:
        ranks, result, error = current(), None, None
        if ranks.count == 1:
            return write(*arguments, **named)
        if ranks.first:
            try:
                result = write(*arguments, **named)
            except Exception as raised:
                error = raised
        (failed,) = ranks.largest(1 + isinstance(error, FloatingPointError) if error else 0)
        if failed:
            raise error or (LostRank if failed == 1 else FloatingPointError)(f"{write.__name__} failed")
        return result

    return call


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, NotImplementedError):
        raise
    except RuntimeError as error:
        raise LostRank(
            "another rank stopped answering, so the job ends. torchrun --max-restarts starts it again from "
            "the newest checkpoint, and so does --resume"
        ) from error
