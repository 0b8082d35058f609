"""The compiled solver of Sudoku, one code path for every size.

Boards hold digits (0 = blank); candidate sets are bit masks; the tables are those of `Layout`.

Propagation knows naked singles, hidden singles and locked candidates. Each rule only ever removes
candidates and stays applicable when others were removed, so the result does not depend on the order in
which they fire. Hence the distribution of generated puzzles is the same in every symmetric copy.

numba's on-disk cache watches only the file that holds a kernel: after a change here, save
`random_kernels.py` too, or stale generators stay behind.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hrm_rl.compiling import njit
from hrm_rl.puzzles.sudoku.layout import Layout

BITS = np.array([bin(mask).count("1") for mask in range(512)], np.uint8)


class Scratch(NamedTuple):
    """Working memory of one solver; S cells."""

    candidates: NDArray[np.int32]  # [S + 1, S]: candidate sets, one row a depth of the search
    branch: NDArray[np.int64]  # [S + 1]: the cell guessed at that depth, -1 before it is chosen
    queue: NDArray[np.int64]  # [S]: cells that became single and were not yet propagated
    segments: NDArray[np.int64]  # [3, 3]: candidates of a chute's segments, line by box
    line_shared: NDArray[np.int64]  # [3]: digits that a line has in several segments
    box_masks: NDArray[np.int64]  # [4, 3]: a box's digits seen once, twice, fixed, shared by lines
    effort: NDArray[np.int64]  # [2]: guesses, backtracks


def scratch(layout: Layout) -> Scratch:
    """Fresh working memory for boards of that layout."""
    cells = layout.size**2
    return Scratch(
        candidates=np.zeros((cells + 1, cells), np.int32),
        branch=np.zeros(cells + 1, np.int64),
        queue=np.zeros(cells, np.int64),
        segments=np.zeros((3, 3), np.int64),
        line_shared=np.zeros(3, np.int64),
        box_masks=np.zeros((4, 3), np.int64),
        effort=np.zeros(2, np.int64),
    )


@njit()
def _set_hidden(layout, cells, lines, width, hidden, candidates, queue, queued, dirty):
    """Set each of cells [lines, width] that may hold a digit of `hidden` to it.

    Returns (queued, dirty); queued is -1 if a cell may hold two.
    """
    for x in range(lines):
        for j in range(width):
            cell = cells[x, j]
            v = candidates[cell]
            bit = v & hidden
            if bit and bit != v:
                if bit & (bit - 1):
                    return -1, dirty
                candidates[cell] = bit
                queue[queued] = cell
                queued += 1
                dirty |= layout.cell_chutes[cell]
    return queued, dirty


@njit()
def _remove(layout, cells, width, digits, candidates, queue, queued, dirty):
    """Remove `digits` from a segment; return (queued, dirty), queued -1 if a cell runs empty."""
    for j in range(width):
        cell = cells[j]
        v = candidates[cell]
        if v & digits:
            v &= ~digits
            if v == 0:
                return -1, dirty
            candidates[cell] = v
            dirty |= layout.cell_chutes[cell]
            if v & (v - 1) == 0:
                queue[queued] = cell
                queued += 1
    return queued, dirty


@njit()
def _sweep(layout, chute, candidates, queue, dirty, work):
    """Hidden singles, then locked candidates, of one band or stack (a band's boxes included).

    Returns (queued, dirty); queued is -1 on a contradiction. Masks are gathered once and go stale as
    cells change, which is harmless: a stale deduction is still sound, and changed chutes turn dirty.
    """
    full = (1 << layout.size) - 1
    lines, width = layout.chute_lines[chute], layout.chute_width[chute]
    with_boxes = chute < layout.box_columns
    cells = layout.chutes[chute]
    box_masks = work.box_masks
    box_masks[:] = 0
    queued = 0
    for x in range(lines):
        once, twice, fixed, shared = 0, 0, 0, 0
        for y in range(lines):
            segment_once, segment_twice = 0, 0
            segment_fixed = 0
            for j in range(width):
                v = int(candidates[cells[x, y, j]])
                segment_twice |= segment_once & v
                segment_once |= v
                if v & (v - 1) == 0:
                    segment_fixed |= v
            work.segments[x, y] = segment_once
            shared |= once & segment_once
            twice |= segment_twice
            once |= segment_once
            fixed |= segment_fixed
            box_masks[3, y] |= box_masks[0, y] & segment_once
            box_masks[1, y] |= segment_twice
            box_masks[0, y] |= segment_once
            box_masks[2, y] |= segment_fixed
        if once != full:
            return -1, dirty
        work.line_shared[x] = shared
        hidden = full & ~(twice | shared | fixed)
        if hidden:
            queued, dirty = _set_hidden(
                layout, cells[x], lines, width, hidden, candidates, queue, queued, dirty
            )
            if queued < 0:
                return -1, dirty
    for y in range(lines):
        if box_masks[0, y] != full:
            return -1, dirty
        hidden = full & ~(box_masks[1, y] | box_masks[2, y] | box_masks[3, y])
        if with_boxes and hidden:
            queued, dirty = _set_hidden(
                layout, cells[:, y], lines, width, hidden, candidates, queue, queued, dirty
            )
            if queued < 0:
                return -1, dirty
    if queued:
        return queued, dirty  # singles are cheaper; their cells made this chute dirty again

    for x in range(lines):
        for y in range(lines):
            # In the box only on this line: gone from the rest of the line. And the other way round.
            pointing = work.segments[x, y] & ~box_masks[3, y] & work.line_shared[x]
            claiming = work.segments[x, y] & ~work.line_shared[x] & box_masks[3, y]
            if pointing | claiming:
                for z in range(lines):
                    if z != y and work.segments[x, z] & pointing:
                        queued, dirty = _remove(
                            layout, cells[x, z], width, pointing, candidates, queue, queued, dirty
                        )
                        if queued < 0:
                            return -1, dirty
                    if z != x and work.segments[z, y] & claiming:
                        queued, dirty = _remove(
                            layout, cells[z, y], width, claiming, candidates, queue, queued, dirty
                        )
                        if queued < 0:
                            return -1, dirty
    return queued, dirty


@njit()
def propagate(layout, candidates, queue, queued, dirty, work):
    """Apply all rules until none fires; return False on a contradiction.

    queue[:queued] holds the single cells to propagate, `dirty` the bit mask of chutes to sweep. A cell
    enters the queue when it turns single, so at most once, and the queue never overflows.
    """
    while True:
        while queued > 0:
            queued -= 1
            cell = queue[queued]
            bit = candidates[cell]
            for peer in layout.peers[cell]:
                v = candidates[peer]
                if v & bit:
                    v ^= bit
                    if v == 0:
                        return False
                    candidates[peer] = v
                    dirty |= layout.cell_chutes[peer]
                    if v & (v - 1) == 0:
                        queue[queued] = peer
                        queued += 1
        if dirty == 0:
            return True
        chute = 0
        while dirty >> chute & 1 == 0:
            chute += 1
        dirty ^= 1 << chute
        queued, dirty = _sweep(layout, chute, candidates, queue, dirty, work)
        if queued < 0:
            return False


@njit()
def _all_chutes(layout):
    return (1 << layout.chute_lines.size) - 1


@njit()
def _load(layout, board, cell_without, digit_without, candidates, work):
    """Fill `candidates` from the givens and propagate; return False on a contradiction.

    Cell `cell_without` (-1 for none) counts as blank that must not hold `digit_without`.
    """
    size = layout.size
    full = (1 << size) - 1
    used = np.zeros(3 * size, np.int32)
    for cell in range(size * size):
        if board[cell] and cell != cell_without:
            bit = 1 << (board[cell] - 1)
            for i in range(3):
                unit = layout.cell_units[cell, i]
                if used[unit] & bit:
                    return False
                used[unit] |= bit
    queued = 0
    for cell in range(size * size):
        if board[cell] and cell != cell_without:
            candidates[cell] = 1 << (board[cell] - 1)
            continue
        units = layout.cell_units[cell]
        v = full & ~(used[units[0]] | used[units[1]] | used[units[2]])
        if cell == cell_without:
            v &= ~(1 << (digit_without - 1))
        if v == 0:
            return False
        candidates[cell] = v
        if v & (v - 1) == 0:
            work.queue[queued] = cell
            queued += 1
    return propagate(layout, candidates, work.queue, queued, _all_chutes(layout), work)


@njit()
def _branch_cell(layout, candidates):
    """The first cell of fewest candidates among the open ones; -1 if the board is full."""
    fewest, chosen = 10, -1
    for cell in range(layout.size * layout.size):
        v = candidates[cell]
        if v & (v - 1):
            count = BITS[v]
            if count < fewest:
                fewest, chosen = count, cell
                if count == 2:
                    break
    return chosen


@njit()
def search(layout, board, cell_without, digit_without, limit, max_guesses, solution, work):
    """Count solutions up to `limit`; -1 if more than `max_guesses` guesses would be needed.

    Depth-first: the first cell of fewest candidates, its digits in ascending order. The first solution
    found goes to `solution`; guesses and backtracks (guesses that propagation refutes) to work.effort.
    """
    work.effort[:] = 0
    if not _load(layout, board, cell_without, digit_without, work.candidates[0], work):
        return 0
    found = 0
    depth = 0
    work.branch[0] = -1
    while depth >= 0:
        candidates = work.candidates[depth]
        cell = work.branch[depth]
        if cell < 0:
            cell = _branch_cell(layout, candidates)
            if cell < 0:
                if found == 0:
                    for i in range(layout.size * layout.size):
                        solution[i] = BITS[candidates[i] - 1] + 1
                found += 1
                if found >= limit:
                    return found
                depth -= 1
                continue
            work.branch[depth] = cell
        v = candidates[cell]
        if v == 0:
            depth -= 1
            continue
        if work.effort[0] >= max_guesses:
            return -1
        bit = v & -v
        candidates[cell] = v ^ bit  # the digits still to try here
        deeper = work.candidates[depth + 1]
        for i in range(len(candidates)):  # a slice compiles its error message, half of this kernel's time
            deeper[i] = candidates[i]
        deeper[cell] = bit
        work.queue[0] = cell
        work.effort[0] += 1
        if propagate(layout, deeper, work.queue, 1, layout.cell_chutes[cell], work):
            depth += 1
            work.branch[depth] = -1
        else:
            work.effort[1] += 1
    return found


@njit(nogil=True)
def solve_boards(layout, boards, limit, max_guesses, solutions, counts, effort, work):
    """Solve boards int8 [N, S] into solutions int8 [N, S], counts int64 [N], effort int64 [N, 2]."""
    for k in range(boards.shape[0]):
        counts[k] = search(layout, boards[k], -1, 0, limit, max_guesses, solutions[k], work)
        effort[k, 0], effort[k, 1] = work.effort[0], work.effort[1]
