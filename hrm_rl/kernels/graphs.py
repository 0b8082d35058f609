"""Functions on static memory: CUDA graphs, and a plain run elsewhere.

A CUDA graph is a recording of the kernels that a function launched, with the addresses they read and wrote. A
replay launches all of them at once, without Python: a Python number is a constant of the recording, and
everything that changes from run to run must be in static memory.

`Captured` has that memory: static inputs, into which each call's inputs are copied, and static outputs, which
each call overwrites.
"""

import gc
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Work = Callable[[], Tensors]


class Recorder(Protocol):
    """Records functions. Recordings of one recorder may share memory, so replays must keep the order in which
    they were recorded: none may run between two where one reads the other's output."""

    def warm_up(self, work: Work) -> Tensors:
        """Run without recording, on the same stream: kernels compile and workspaces are allocated."""
        ...

    def record(self, work: Work) -> tuple[Tensors, Callable[[], None]]:
        """Record and run once; returns the outputs and a function that runs again into the same outputs."""
        ...


class CudaRecorder:
    """CUDA graphs, on one stream and from one pool of memory.

    Warming up and recording use a stream of the recorder: a recording must not wait for another stream, and a
    backward pass runs on the stream of its forward pass.
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
        # Dropped graphs are in reference cycles, which Python frees at any later time, and destroying a graph
        # during a recording spoils it. PyTorch from 2.11 on does not collect before it records.
        gc.collect()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                outputs = work()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                f"a CUDA graph could not be recorded ({error}). A model that reads a value or makes a "
                "tensor of numbers in a step runs without: --graphs no"
            ) from error
        graph.replay()  # nothing ran while it was recorded
        return outputs, graph.replay


class Rerun:
    """Without CUDA graphs: runs the function again and copies its outputs over the first ones.

    Not faster: it tests static memory without a GPU.
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
    """A function of named tensors, run on static memory; recorded once, then replayed.

    The next call overwrites the result: read or copy it before. Inputs are copied in and need only the same
    shapes and dtypes.
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

        With `warm_up` it runs without recording, which is required at least once before the first recording.
        Raises ValueError for inputs of other names, shapes or dtypes.
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
            raise ValueError(f"inputs must be {list(self._inputs)}, got {list(inputs)}")
        for name, held in self._inputs.items():
            given = inputs[name]
            if given.shape != held.shape or given.dtype != held.dtype:
                raise ValueError(
                    f"{name} is {given.dtype} of shape {tuple(given.shape)}; its static memory is "
                    f"{held.dtype} of shape {tuple(held.shape)}"
                )


@torch.no_grad()
def overwrite(held: Mapping[str, Tensor], new: Mapping[str, Tensor]) -> None:
    """Copy each new tensor over the held one of its name, in place, unless they are the same tensor."""
    for name, tensor in held.items():
        if tensor is not new[name]:
            # Hidden from autograd: one recording may have saved this memory for the backward pass that the
            # next one records.
            tensor.data.copy_(new[name])
