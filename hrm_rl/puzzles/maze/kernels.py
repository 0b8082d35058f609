"""The compiled core of mazes: generate, solve, judge and hash.

A grid has a border of walls around it, so no step needs a bounds check: cell (r, c) of a size n is entry
(r + 1) * (n + 2) + c + 1. Before a search a wall is `_WALLED` and any other cell `_OPEN`; the search turns
the open ones into distances. The kernels share a file because numba's on-disk cache watches only the file
that holds a kernel.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrm_rl.compiling import njit
from hrm_rl.puzzles.base.counter_rng import GOLDEN, below, mix64

_OPEN, _WALLED = np.int16(-1), np.int16(32767)
_WALL, _SPACE, _START, _GOAL, _PATH = 1, 2, 3, 4, 5

# Walls of a "hard" maze, in 65,536ths: 36 to 42 %. Sites of a square lattice percolate at 40.7 % closed
# ones, and near that share shortest paths wind most.
_FEWEST_WALLS, _MOST_WALLS = 23593, 27525

_LOW_BITS, _SIXTEEN = np.uint64(65535), np.uint64(16)

COUNT_CAP = 1 << 60
"""Largest count of shortest paths."""


class Scratch(NamedTuple):
    """Working memory for mazes of size n."""

    grid: NDArray[np.int16]  # [(n + 2)**2]: walls and open cells
    distance: NDArray[np.int16]  # [(n + 2)**2]
    queue: NDArray[np.int32]  # [n * n]: cells in the order of their distance
    visited: NDArray[np.bool_]  # [(n // 2 + 3)**2]: junctions already carved, and a border
    stack: NDArray[np.int32]  # [(n // 2 + 1)**2]


def scratch(size: int) -> Scratch:
    """Fresh working memory for mazes of a size."""
    grid = np.full((size + 2) ** 2, _WALLED, np.int16)
    junctions = size // 2 + 1
    return Scratch(
        grid,
        grid.copy(),
        np.zeros(size * size, np.int32),
        np.zeros((junctions + 2) ** 2, np.bool_),
        np.zeros(junctions**2, np.int32),
    )


@njit()
def _search(size, distance, queue, source):
    """Breadth-first search: distances from `source`, and how many cells it reached."""
    w = size + 2
    distance[source] = 0
    queue[0] = source
    head, tail = 0, 1
    while head < tail:
        cell = queue[head]
        head += 1
        further = distance[cell] + np.int16(1)
        for step in (-w, -1, 1, w):
            if distance[cell + step] < 0:
                distance[cell + step] = further
                queue[tail] = cell + step
                tail += 1
    return tail


@njit()
def _a_farthest(distance, queue, reached, stream):
    """A random one of the cells at the largest distance."""
    first = reached - 1
    while first > 0 and distance[queue[first - 1]] == distance[queue[reached - 1]]:
        first -= 1
    return queue[first + below(stream, reached - first)]


@njit()
def _scatter_walls(size, stream, grid):
    """Place walls at random; return a random open cell, or -1 if none was found."""
    w = size + 2
    walls = _FEWEST_WALLS + below(stream, _MOST_WALLS - _FEWEST_WALLS + 1)
    bits, left = np.uint64(0), 0
    for row in range(1, size + 1):
        for cell in range(row * w + 1, row * w + size + 1):
            if left == 0:  # four cells a draw
                stream[0] += GOLDEN
                bits, left = mix64(stream[0]), 4
            grid[cell] = _WALLED if np.int64(bits & _LOW_BITS) < walls else _OPEN
            bits >>= _SIXTEEN
            left -= 1
    for _ in range(1000):
        cell = (1 + below(stream, size)) * w + 1 + below(stream, size)
        if grid[cell] == _OPEN:
            return cell
    return -1


@njit()
def _carve(size, braid, stream, grid, visited, stack):
    """A random spanning tree of corridors, then `braid` 65,536ths of its dead ends opened.

    Junctions are every second cell, from the first one of an odd size; an even size has one extra line of
    walls at either end. Depth first with backtracking, so corridors are long and winding.
    Returns a random junction.
    """
    w, count = size + 2, (size + 1) // 2
    v = count + 2
    grid[:] = _WALLED
    top = left = 1
    if size % 2 == 0:
        top, left = top + below(stream, 2), left + below(stream, 2)
    visited[:] = True
    for row in range(1, count + 1):
        visited[row * v + 1 : row * v + count + 1] = False

    stack[0] = (1 + below(stream, count)) * v + 1 + below(stream, count)
    visited[stack[0]] = True
    depth = 1
    while depth > 0:
        here = stack[depth - 1]
        cell = (2 * (here // v - 1) + top) * w + 2 * (here % v - 1) + left
        grid[cell] = _OPEN
        ways = 0
        for step in (-v, -1, 1, v):
            ways += not visited[here + step]
        if ways == 0:
            depth -= 1
            continue
        chosen = below(stream, ways)
        for step, across in ((-v, -w), (-1, -1), (1, 1), (v, w)):
            if not visited[here + step]:
                if chosen == 0:
                    visited[here + step] = True
                    grid[cell + across] = _OPEN
                    stack[depth] = here + step
                    depth += 1
                    break
                chosen -= 1

    if braid > 0:
        for row in range(count):
            for column in range(count):
                cell = (2 * row + top) * w + 2 * column + left
                inside = (row > 0, column > 0, column < count - 1, row < count - 1)
                steps = (-w, -1, 1, w)
                doors = ways = 0
                for k in range(4):
                    door = grid[cell + steps[k]] == _OPEN
                    doors += door
                    ways += inside[k] and not door
                if doors == 1 and ways > 0 and below(stream, 65536) < braid:
                    chosen = below(stream, ways)
                    for k in range(4):
                        if inside[k] and grid[cell + steps[k]] == _WALLED:
                            if chosen == 0:
                                grid[cell + steps[k]] = _OPEN
                            chosen -= 1
    row, column = below(stream, count), below(stream, count)
    return (2 * row + top) * w + 2 * column + left


@njit()
def _walk(size, distance, start, label):
    """Draw the path into `label`: from every cell the first of up, left, right, down that is nearer."""
    w = size + 2
    cell = start
    while distance[cell] > 1:
        for step in (-w, -1, 1, w):
            if distance[cell + step] == distance[cell] - 1:
                cell += step
                break
        label[(cell // w - 1) * size + cell % w - 1] = _PATH


@njit(nogil=True)
def generate(size, perfect, braid, min_path, tries, keys, mazes, labels, work):
    """Fill mazes int8 [N, S] and their labels, one a stream key; return how many were made.

    The farthest cell from a random one, and the farthest from that, are goal and start. Ends early if
    `tries` mazes for one key had no path of `min_path` moves.
    """
    grid, distance, queue, visited, stack = work
    w = size + 2
    stream = np.zeros(1, np.uint64)
    for k in range(len(keys)):
        stream[0] = keys[k]
        done = False
        for _ in range(tries):
            if perfect:
                first = _carve(size, braid, stream, grid, visited, stack)
            else:
                first = _scatter_walls(size, stream, grid)
            if first < 0:
                continue
            distance[:] = grid
            reached = _search(size, distance, queue, first)
            # No two cells are farther apart than both are from the first one together.
            if 2 * distance[queue[reached - 1]] < min_path:
                continue
            goal = _a_farthest(distance, queue, reached, stream)
            distance[:] = grid
            reached = _search(size, distance, queue, goal)
            if distance[queue[reached - 1]] < min_path:
                continue
            start = _a_farthest(distance, queue, reached, stream)
            for row in range(size):
                for column in range(size):
                    wall = grid[(row + 1) * w + column + 1] == _WALLED
                    mazes[k, row * size + column] = _WALL if wall else _SPACE
            mazes[k, (start // w - 1) * size + start % w - 1] = _START
            mazes[k, (goal // w - 1) * size + goal % w - 1] = _GOAL
            labels[k] = mazes[k]
            _walk(size, distance, start, labels[k])
            done = True
            break
        if not done:
            return k
    return len(keys)


@njit()
def _lay_out(size, maze, grid):
    """Fill the grid; return start and goal, each -1 unless there is exactly one."""
    w = size + 2
    start = goal = 0
    for cell in range(size * size):
        place = (cell // size + 1) * w + cell % size + 1
        token = maze[cell]
        grid[place] = _OPEN if _SPACE <= token <= _PATH else _WALLED
        if token == _START:
            start = -1 if start else place
        elif token == _GOAL:
            goal = -1 if goal else place
    return (start if start else -1), (goal if goal else -1)


@njit(nogil=True)
def solve(size, mazes, labels, lengths, counts, work):
    """Fill labels int8 [N, S], lengths and counts of shortest paths; without a path 0, -1 and 0."""
    grid, distance, queue = work[0], work[1], work[2]
    w = size + 2
    ways = np.zeros((size + 2) ** 2, np.int64)
    for k in range(len(mazes)):
        labels[k] = 0
        lengths[k], counts[k] = -1, 0
        start, goal = _lay_out(size, mazes[k], grid)
        if start < 0 or goal < 0:
            continue
        distance[:] = grid
        reached = _search(size, distance, queue, goal)
        if distance[start] < 0:
            continue
        ways[goal] = 1
        for i in range(1, reached):
            cell = queue[i]
            total = np.int64(0)
            for step in (-w, -1, 1, w):
                if distance[cell + step] == distance[cell] - 1:
                    total += ways[cell + step]
            ways[cell] = min(total, COUNT_CAP)
        labels[k] = mazes[k]
        _walk(size, distance, start, labels[k])
        lengths[k], counts[k] = distance[start], ways[start]


@njit(nogil=True)
def judge(size, mazes, answers, excess, work):
    """Fill in by how many moves each answer int8 [N, S] exceeds a shortest path; -1 without a path."""
    grid, distance, queue = work[0], work[1], work[2]
    w = size + 2
    for k in range(len(mazes)):
        excess[k] = -1
        drawn = 0
        kept = True
        for cell in range(size * size):
            token, answer = mazes[k, cell], answers[k, cell]
            if answer == _PATH:
                drawn += 1
            kept = kept and (answer == token or (token == _SPACE and answer == _PATH))
        if not kept:
            continue
        start, goal = _lay_out(size, mazes[k], grid)
        if start < 0 or goal < 0:
            continue
        on_path = distance  # until the search
        on_path[:] = 0
        for cell in range(size * size):
            on_path[(cell // size + 1) * w + cell % size + 1] = answers[k, cell] >= _START
        # Along the drawn cells from the start, as long as there is exactly one way on.
        before, here, moves = -1, start, 0
        while here != goal:
            onward, ways = -1, 0
            for step in (-w, -1, 1, w):
                if here + step != before and on_path[here + step]:
                    onward = here + step
                    ways += 1
            if ways != 1:
                break
            before, here = here, onward
            moves += 1
        if here != goal or moves != drawn + 1:
            continue
        if on_path[goal - w] + on_path[goal - 1] + on_path[goal + 1] + on_path[goal + w] != 1:
            continue
        distance[:] = grid
        _search(size, distance, queue, goal)
        excess[k] = moves - distance[start]


@njit(nogil=True)
def class_keys(size, images, wall_codes, end_codes, mazes, keys):
    """Sums over the walls and ends of every one of the 8 images, and over the images; all commute."""
    sums = np.zeros(8, np.uint64)
    for k in range(len(mazes)):
        sums[:] = np.uint64(0)
        for cell in range(size * size):
            token = mazes[k, cell]
            if token == _WALL:
                for g in range(8):
                    sums[g] += wall_codes[images[cell, g]]
            elif token in (_START, _GOAL):
                for g in range(8):
                    sums[g] += end_codes[images[cell, g]]
        total = np.uint64(0)
        for g in range(8):
            total += mix64(sums[g])
        keys[k] = mix64(total)
