"""Work that is run again on the same memory: a CUDA graph, and what stands in for one elsewhere.

A CUDA graph is a recording of the kernels that a function launched, with the addresses they read and
wrote. A replay launches all of them at once, without Python: what was a number in Python is a constant
of the recording, and what changes from run to run has to lie in memory that stays in its place.

`Captured` is that memory: static inputs, into which each call's inputs are copied, the function, and
static outputs, which each call writes anew.
"""

import gc
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Work = Callable[[], Tensors]


class Recorder(Protocol):
    """Records functions. What one recorder has recorded may share memory, so that its replays have to
    keep the order of their recordings: none may run between two that hand something over."""

    def warm_up(self, work: Work) -> Tensors:
        """Run it as it will be recorded, without recording: kernels compile, workspaces are made."""
        ...

    def record(self, work: Work) -> tuple[Tensors, Callable[[], None]]:
        """Record it and run it once; its outputs, and what runs it again into the same outputs."""
        ...


class CudaRecorder:
    """CUDA graphs, on one stream and from one pool of memory.

    The stream is the recorder's own for warming up and recording: a recording must not wait for a stream
    outside it, and the backward pass runs where its forward pass ran.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Work) -> Tensors:
        callers = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(callers)
        with torch.cuda.stream(self._stream):
            outputs = work()
        callers.wait_stream(self._stream)
        return outputs

    def record(self, work: Work) -> tuple[Tensors, Callable[[], None]]:
        # What replays a graph refers back to it in a circle. Python would free a dropped one at any time
        # later, and to destroy a graph while another is being recorded spoils the recording; PyTorch from
        # 2.11 on no longer collects before it records.
        gc.collect()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            outputs = work()
        graph.replay()  # nothing ran while it was recorded
        return outputs, graph.replay


class Rerun:
    """Where there are no graphs: the function is run again and its outputs copied over the first ones.

    Saves nothing. It is here so that what static memory means can be tested without a GPU.
    """

    def warm_up(self, work: Work) -> Tensors:
        return work()

    def record(self, work: Work) -> tuple[Tensors, Callable[[], None]]:
        outputs = work()

        def again() -> None:
            overwrite(outputs, work())

        return outputs, again


def make_recorder(device: torch.device) -> Recorder:
    """CUDA graphs on a CUDA device, a plain run elsewhere."""
    return CudaRecorder(device) if device.type == "cuda" else Rerun()


class Captured:
    """A function of named tensors, run on static memory; recorded once, replayed from then on.

    What a call returns is overwritten by the next one: read it, or copy it, before that. Inputs are
    copied in, and may be anything of the same shape and dtype.
    """

    def __init__(self, function: Callable[[Tensors], Tensors], recorder: Recorder) -> None:
        self._function, self._recorder = function, recorder
        self._inputs: Tensors = {}
        self._outputs: Tensors = {}
        self._replay: Callable[[], None] | None = None

    @property
    def is_recorded(self) -> bool:
        return self._replay is not None

    def __call__(self, inputs: Mapping[str, Tensor], *, warm_up: bool = False) -> Tensors:
        """The function's outputs.

        With `warm_up` it is only run, for what a first run does besides; it has to be run so at least
        once before it is recorded. Raises ValueError for inputs of other names, shapes or dtypes.
        """
        if self._inputs:
            self._check(inputs)
            overwrite(self._inputs, inputs)
        else:
            self._inputs = {name: value.detach().clone() for name, value in inputs.items()}
        if warm_up and not self.is_recorded:
            return self._recorder.warm_up(self._run)
        if self._replay is None:
            self._outputs, self._replay = self._recorder.record(self._run)
        else:
            self._replay()
        return self._outputs

    def _run(self) -> Tensors:
        return self._function(self._inputs)

    def _check(self, inputs: Mapping[str, Tensor]) -> None:
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"wanted inputs {list(self._inputs)}, got {list(inputs)}")
        for name, held in self._inputs.items():
            given = inputs[name]
            if given.shape != held.shape or given.dtype != held.dtype:
                raise ValueError(
                    f"{name} is {given.dtype} of shape {tuple(given.shape)}; what runs on static memory "
                    f"was begun with {held.dtype} {tuple(held.shape)}"
                )


@torch.no_grad()
def overwrite(held: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> None:
    """Copy each new tensor over the held one of its name, in place; what is the same tensor stays."""
    for name, tensor in held.items():
        if tensor is not new[name]:
            # Unseen by autograd: between two recordings one may have kept this very memory for the
            # backward pass that the other is to record.
            tensor.data.copy_(new[name])
