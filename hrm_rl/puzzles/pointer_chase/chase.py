"""The pointer chase: puzzles, labels and classes."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base.counter_rng import below, choose, mix64
from hrm_rl.puzzles.base.dials import dial, switch
from hrm_rl.puzzles.base.picture import Panel, Shown
from hrm_rl.puzzles.family import Family, Made
from hrm_rl.puzzles.pointer_chase import drawing
from hrm_rl.puzzles.pointer_chase.layout import BLANK, FIRST_NODE
from hrm_rl.puzzles.pool import IGNORE_LABEL

_REFINEMENTS = 8
_SELF = np.uint64(0xA0761D6478BD642F)
_START_COLOR = np.uint64(0x2545F4914F6CDD1D)


@dataclass(frozen=True)
class PointerChase(Family):
    """Pointer chase: follow the arrows of a map from a start, one hop after the other.

    A map sends each node to a node. The cells of a puzzle are

        start | target of node 0 | ... | target of node nodes - 1
              | answer 1 | ... | answer hops

    The first h answer cells are BLANK, h the puzzle's hops, and the others PAD; cell k stands for the node
    after k hops. Only the last BLANK is judged, unless `trajectory` is set. Maps are uniform among those
    whose walk meets h + 1 different nodes; a walk that returned early would be a shorter chase.

    Tokens: PAD = 0, BLANK = 1, node j = j + 2.
    Rating: the hops, which is the least number of look-ups in a row.
    Class: a map with its start, up to renaming the nodes; hops do not count. Different classes may share a
    key (rarely), and then they go to the same split. It has no augmentation, because renaming a node
    changes tokens and moves its cell at once, which `Symmetry` cannot express; take larger pools instead.
    """

    name: ClassVar = "pointer-chase"
    stream: ClassVar = 0x9C5E_0001
    one_answer: ClassVar = True

    nodes: int = dial(16, 2, 512)
    """Nodes of the map."""
    hops: int = dial(8, 1, 511)
    """Hops of the longest chase, fewer than nodes."""
    min_hops: int | None = dial(None, 1, 511)
    """Hops of the shortest chase, for chases of random lengths. By default all have `hops`."""
    trajectory: bool = switch()
    """Ask for every node on the way, instead of the last alone. Changes the labels and nothing else."""

    @property
    def vocab_size(self) -> int:
        return self.nodes + FIRST_NODE

    @property
    def seq_len(self) -> int:
        return 1 + self.nodes + self.hops

    @property
    def _fewest(self) -> int:
        return self.hops if self.min_hops is None else self.min_hops

    def check(self) -> None:
        nodes, hops = self.nodes, self.hops
        if hops >= nodes:
            raise ValueError(f"hops must be 1 to {nodes - 1}, fewer than the {nodes} nodes; got {hops}")
        if self._fewest > hops:
            raise ValueError(f"min_hops must be 1 to hops={hops}, got {self.min_hops}")

    def stream_numbers(self) -> tuple[int, ...]:
        return self.nodes, self._fewest, self.hops

    def named_dials(self) -> dict[str, Any]:
        return {name: dial for name, dial in super().named_dials().items() if name != "trajectory"}

    def make(self, keys: NDArray[np.uint64]) -> Made:
        inputs = np.zeros((len(keys), self.seq_len), np.int32)
        _fill(keys, self.nodes, self._fewest, self.hops, inputs)
        return inputs, self._labels(inputs), np.ones(len(keys), bool)

    def _labels(self, inputs: NDArray[np.int32]) -> NDArray[np.int32]:
        """The nodes of the walk in the cells that are judged, int32 [N, S]."""
        labels = np.full(inputs.shape, IGNORE_LABEL, np.int32)
        first, arrows, at = 1 + self.nodes, inputs[:, 1 : 1 + self.nodes], inputs[:, :1]
        asked = (inputs[:, first:] == BLANK).sum(axis=1, keepdims=True)
        for hop in range(self.hops):
            node = np.clip(at - FIRST_NODE, 0, self.nodes - 1)
            at = np.take_along_axis(arrows, node, axis=1)
            judged = (asked > hop) if self.trajectory else (asked == hop + 1)
            labels[:, first + hop] = np.where(judged, at, IGNORE_LABEL)[:, 0]
        return labels

    def solves(self, puzzles: NDArray[np.int32], answers: NDArray[np.int32]) -> NDArray[np.bool_]:
        labels = self._labels(puzzles)
        return ((labels == IGNORE_LABEL) | (labels == answers)).all(axis=1)

    def difficulty(self, puzzles: NDArray[np.int32]) -> NDArray[Any]:
        return (puzzles[:, 1 + self.nodes :] == BLANK).sum(axis=1)

    def key(self, puzzles: NDArray[np.int32]) -> NDArray[np.uint64]:
        """Colour refinement on the graph of the map, its start marked."""
        rows = puzzles[:, : 1 + self.nodes]
        if rows.size and rows.min() < FIRST_NODE:
            raise ValueError("inputs: the start and every node's arrow must be nodes, 2 or more")
        keys = np.empty(len(rows), np.uint64)
        _refine(rows - FIRST_NODE, keys)
        return keys

    def text(self, shown: Shown, color: bool) -> str:
        return drawing.text(shown, self.nodes, color)

    def panels(self, shown: Shown) -> list[Panel]:
        return drawing.panels(shown, self.nodes, self.trajectory)

    def board(self, shown: Shown, cell: int) -> Image.Image:
        return drawing.board(shown, self.nodes, self.trajectory, cell)


@njit(nogil=True)
def _fill(keys, nodes, low, high, inputs):
    """Fill inputs int32 [N, 1 + nodes + high]: a walk without repeats, then the other arrows.

    Uniform under the condition: every such map has exactly one walk of h + 1 nodes from its start, all walks
    are equally likely, and the other nodes may point anywhere.
    """
    stream = np.empty(1, np.uint64)
    order = np.empty(nodes, np.int64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        hops = low + below(stream, high - low + 1)
        choose(stream, order, hops + 1)
        inputs[k, 0] = order[0] + 2
        for node in range(nodes):
            inputs[k, 1 + node] = below(stream, nodes) + 2
        for i in range(hops):
            inputs[k, 1 + order[i]] = order[i + 1] + 2
            inputs[k, 1 + nodes + i] = 1


@njit(nogil=True)
def _refine(rows, keys):
    """Colour refinement of maps int [N, 1 + nodes] of nodes from 0, the start first, into keys [N]."""
    nodes = rows.shape[1] - 1
    old, new = np.empty(nodes, np.uint64), np.empty(nodes, np.uint64)
    for k in range(len(rows)):
        for node in range(nodes):
            old[node] = mix64(np.uint64(nodes))
        old[rows[k, 0]] = _START_COLOR
        for _ in range(_REFINEMENTS):
            for node in range(nodes):
                new[node] = mix64(old[node] ^ _SELF) + mix64(~old[rows[k, 1 + node]])
            for node in range(nodes):
                new[rows[k, 1 + node]] += mix64(old[node])
            for node in range(nodes):
                old[node] = mix64(new[node])
        total = np.uint64(0)
        for node in range(nodes):
            total += old[node]
        keys[k] = mix64(total)
