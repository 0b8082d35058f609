"""Boards as people write them: on one line, in rows, or drawn in a frame."""

import re

_COLORS = re.compile(r"\x1b\[[\d;]*m")
_LINES = r"\u2500-\u257f"  # of box drawing
_RULE = re.compile(rf"[\s+|{_LINES}]*[-=+{_LINES}][-=+|\s{_LINES}]*")
_BARS = re.compile(rf"[|{_LINES}]")
_APART = re.compile(rf"[\s|,;/\"'`\[\]{_LINES}]")
_CORNERS = tuple("+\u250c\u250f\u2554\u256d\u2514\u2517\u255a\u2570")
_SEPARATORS = "\t,;"
_SQUARES = {size**2 for size in range(1, 101)}


def cells_of(text: str, spaced: bool = False) -> str:
    """The cells of a square board in reading order, a character each; the lines of a frame are left out, and
    all that stands above and below it.

    A space is a cell, and an editor may have cut those at the end of a row. With `spaced` it is one only on a
    line of a square number of characters, and in rows without another sign for a blank; else spaces, commas,
    quotes and brackets stand between cells, and an empty cell of a spreadsheet is a space.

    Raises ValueError for rows of different lengths.
    """
    text = _COLORS.sub("", text).replace("\r", "")
    line = text.strip("\n")
    if "\n" not in line and (not spaced or len(line) in _SQUARES):
        return line
    whole = [row for row in _framed(text.split("\n")) if not _RULE.fullmatch(row)]
    if spaced and (table := _table(whole)):
        return table
    apart = [row for line in whole if (row := _APART.sub("", line))] if spaced else []
    if any(len(row) != len(apart) for row in apart) or not apart:
        blanks = not (spaced and set(text) & set(".0_"))
        padded = [_BARS.sub("", row) for row in whole]
        inner = "\n".join(padded).strip("\n").split("\n")
        for rows in (padded, inner) if blanks else ():
            if rows and max(map(len, rows)) == len(rows):
                return "".join(row.ljust(len(rows)) for row in rows)
        apart = apart or inner
    for number, row in enumerate(apart, start=1):
        if len(row) != len(apart[0]):
            raise ValueError(f"row {number} has {len(row)} cells, row 1 has {len(apart[0])}")
    return "".join(apart)


def _framed(rows: list[str]) -> list[str]:
    """The rows inside a frame; all of them if there is none around."""
    ends = [k for k, row in enumerate(rows) if _RULE.fullmatch(row) and row.strip().startswith(_CORNERS)]
    return rows[ends[0] : ends[-1]] if len(ends) > 1 else rows


def _table(rows: list[str]) -> str | None:
    """The cells of a square table of a spreadsheet, a space for an empty one; None if it is not one."""
    rows = [row for row in rows if row]
    for mark in _SEPARATORS:
        cells = [cell.strip() for row in rows for cell in row.split(mark)]
        square = all(row.count(mark) == len(rows) - 1 for row in rows)
        if len(rows) > 1 and square and all(len(cell) < 2 for cell in cells):
            return "".join(cell or " " for cell in cells)
    return None
