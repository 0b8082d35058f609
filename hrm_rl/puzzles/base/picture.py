"""Parts of every family's pictures: colors, smooth text, boards of tiles, and the frame around a board.

A family draws its board, with a margin around it, as a Pillow image and hands it to `frame`, which adds
the caption and two bars of probability below. Lines and cells lie on whole pixels; characters are drawn
several times too large and scaled down, so they are smooth at every size. The same arguments always
give the same pixels.
"""

import math
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from hrm_rl.puzzles.base.tokens import as_tokens
from hrm_rl.puzzles.pool import IGNORE_LABEL

Color = tuple[int, int, int]

PAPER: Color = (255, 255, 255)
GIVEN: Color = (23, 28, 38)
GIVEN_CELL: Color = (238, 241, 245)
DRAFT: Color = (29, 90, 204)
DRAFT_CELL: Color = (221, 232, 251)
MISTAKE: Color = (193, 32, 38)
MISTAKE_CELL: Color = (253, 222, 220)
HALT: Color = (14, 124, 112)
CONTINUE: Color = (217, 129, 22)
CAPTION: Color = (75, 83, 97)
THIN_LINE: Color = (196, 202, 212)
THICK_LINE: Color = (47, 54, 66)
_TRACK: Color = (229, 233, 239)

_OVERSAMPLING = 4
_CAPTION_WIDTH = 10.5  # of a board, in heights of its caption's text


class Tile(NamedTuple):
    """A cell of a board of tiles."""

    text: str = ""
    color: Color = GIVEN
    ground: Color | None = None  # None leaves the paper
    weight: float = 0.0  # of the text, as in `text_mask`


class Panel(NamedTuple):
    """A board of tiles, as reports draw it."""

    tiles: list[Tile]
    columns: int
    title: str = ""
    box: tuple[int, int] = (0, 0)  # rows and columns between thick lines


def answer_tile(text: str, wrong: bool) -> Tile:
    """A cell of the draft."""
    return Tile(text, *(MISTAKE_LOOK if wrong else DRAFT_LOOK))


GIVEN_WEIGHT, DRAFT_WEIGHT, MISTAKE_WEIGHT = 0.042, 0.012, 0.025
GIVEN_LOOK = (GIVEN, GIVEN_CELL, GIVEN_WEIGHT)
DRAFT_LOOK = (DRAFT, PAPER, DRAFT_WEIGHT)
MISTAKE_LOOK = (MISTAKE, MISTAKE_CELL, MISTAKE_WEIGHT)
"""Color, ground and weight of a `Tile` that shows a given, a cell of the draft or a mistake."""


class Shown(NamedTuple):
    """The content of a drawing."""

    puzzle: NDArray[np.int32]  # [S]: tokens of the question
    answer: NDArray[np.int32]  # [S]: tokens to draw as the answer; the puzzle's if there is none
    wrong: NDArray[np.bool_]  # [S]: a draft that differs from the label; False without either
    answered: bool  # whether there is an answer: a draft or, in text, labels
    labels: NDArray[np.int32] | None  # [S]

    def judged(self) -> NDArray[np.bool_]:
        """Which cells have a label, [S]; all without labels."""
        if self.labels is None:
            return np.ones(len(self.puzzle), bool)
        return self.labels != IGNORE_LABEL


class Drawable:
    """Puzzles that can be drawn. A subclass implements `vocab_size`, `seq_len`, `text` and `board`."""

    least_pixels: ClassVar[int] = 16
    """Least width of a cell in pictures."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens, PAD = 0 included."""
        raise NotImplementedError

    @property
    def seq_len(self) -> int:
        """Cells of a puzzle, S."""
        raise NotImplementedError

    @property
    def pixels(self) -> int:
        """Width of a cell in pictures, if it is not given."""
        return 32

    def text(self, shown: Shown, color: bool) -> str:
        """A drawing as lines of text, mistakes marked (with ANSI colors if `color`)."""
        raise NotImplementedError

    def board(self, shown: Shown, cell: int) -> Image.Image:
        """A drawing as an image with a margin, `cell` pixels from one cell to the next."""
        raise NotImplementedError

    def panels(self, shown: Shown) -> list[Panel]:
        """A drawing as boards of tiles, of one layout for all drafts; by default tokens as numbers."""
        side = math.isqrt(self.seq_len)
        cells = [
            answer_tile(str(token), bad) if token != given else Tile(str(token), *GIVEN_LOOK)
            for token, given, bad in zip(shown.answer, shown.puzzle, shown.wrong, strict=True)
        ]
        return [Panel(cells, side if side**2 == self.seq_len else min(16, self.seq_len))]

    def strip_cell(self, cell: int) -> int:
        """The width of a cell to which the caption and the bars belong."""
        return cell

    def draw(
        self,
        inputs: ArrayLike,
        draft: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        color: bool = False,
    ) -> str:
        """A puzzle [S] as lines of text with its draft [S] or, without one, its labels [S].

        Cells in which the draft differs from the labels are marked, in red if `color`.
        """
        shown = self.shown(inputs, draft, labels)
        if draft is None and shown.labels is not None:
            shown = shown._replace(answer=shown.labels, answered=True)
        return self.text(shown, color)

    def picture(
        self,
        inputs: ArrayLike,
        draft: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        caption: str | None = None,
        q: tuple[float, float] | None = None,
        cell: int | None = None,
    ) -> NDArray[np.uint8]:
        """A puzzle [S] and its draft [S] as an image; cells that differ from the labels [S] are red.

        Args:
            inputs: as in `draw`.
            draft: as in `draw`.
            labels: as in `draw`, but labels alone are not drawn.
            caption: one line below the board; "" keeps its place empty.
            q: logits (q_halt, q_continue), drawn as bars of their sigmoids; NaN draws an empty bar.
            cell: pixels from one cell to the next, at least `least_pixels`.

        Returns uint8 [H, W, 3]; its shape depends on the dials, `cell`, and whether there are `caption`
        and `q`.
        """
        cell = self.pixels if cell is None else cell
        if cell < self.least_pixels:
            raise ValueError(f"cell must be >= {self.least_pixels} pixels, got {cell}")
        board = self.board(self.shown(inputs, draft, labels), cell)
        return frame(board, self.strip_cell(cell), caption, q)

    def shown(self, inputs: ArrayLike, draft: ArrayLike | None, labels: ArrayLike | None) -> Shown:
        """The content of a drawing. Raises ValueError for shapes that differ, or unknown tokens."""
        cells, tokens = self.seq_len, self.vocab_size
        puzzle = as_tokens("inputs", inputs, cells, tokens)
        if puzzle.ndim != 1:
            raise ValueError(f"one puzzle [S] is drawn at a time, got shape {puzzle.shape}")
        answer = puzzle if draft is None else as_tokens("draft", draft, cells, tokens)
        solution = None if labels is None else as_tokens("labels", labels, cells)
        wrong = np.zeros(cells, bool)
        for name, array in (("draft", answer), ("labels", solution)):
            if array is not None and array.shape != puzzle.shape:
                raise ValueError(f"{name} must be [S] as inputs {puzzle.shape}, got {array.shape}")
        if draft is not None and solution is not None:
            wrong = (solution != IGNORE_LABEL) & (solution != answer)
        return Shown(puzzle, answer, wrong, draft is not None, solution)


def margin(cell: int) -> int:
    """Pixels of paper around a board."""
    return max(5, round(cell / 4))


def sheet(width: int, height: int, edge: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Paper for a board of that many pixels with a margin of `edge`, and a pen to draw on it."""
    image = Image.new("RGB", (width + 2 * edge, height + 2 * edge), PAPER)
    return image, ImageDraw.Draw(image)


def frame(
    board: Image.Image, cell: int, caption: str | None = None, q: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """A board, its margin included, with a caption and two bars of probability below it, if they are given.

    A long caption is written smaller, so the shape depends only on the board, `cell` and whether there are a
    caption and a `q`. Arguments as in `Drawable.picture`. A new array uint8 [H, W, 3].
    """
    # Of the board's width, so that captions and bars fit below boards of every size.
    text = min(max(10.0, 0.34 * cell), board.width / _CAPTION_WIDTH)
    parts = [board]
    if caption is not None:
        parts.append(_caption_strip(caption, board.width, text, cell))
    if q is not None:
        parts.append(_q_strip(q, board.width, text, cell))
    return np.concatenate([np.asarray(part) for part in parts])


def tiles(cells: list[Tile], columns: int, cell: int, *, text: float = 0.65) -> Image.Image:
    """A board of square cells in reading order with thin lines between them, and a margin.

    `cell` is the pixels from one cell to the next, `text` the height of the font as a share of it.
    """
    edge = margin(cell)
    height, width = len(cells) // columns * cell, columns * cell
    image, pen = sheet(width, height, edge)
    for index, tile in enumerate(cells):
        x, y = edge + index % columns * cell, edge + index // columns * cell
        if tile.ground is not None:
            pen.rectangle((x, y, x + cell - 1, y + cell - 1), fill=tile.ground)
        if tile.text:
            write(image, tile.text, (x + 1, y + 1, cell - 1), tile.color, text, tile.weight)
    for x in range(edge, edge + width + 1, cell):
        pen.line((x, edge, x, edge + height), fill=THIN_LINE)
    for y in range(edge, edge + height + 1, cell):
        pen.line((edge, y, edge + width, y), fill=THIN_LINE)
    return image


def side_by_side(boards: list[Image.Image]) -> Image.Image:
    """Boards of one height in a row."""
    return Image.fromarray(np.concatenate([np.asarray(board) for board in boards], axis=1))


def on_top(boards: list[Image.Image]) -> Image.Image:
    """Boards one below the other, each in the middle."""
    width = max(board.width for board in boards)
    whole = Image.new("RGB", (width, sum(b.height for b in boards)), PAPER)
    top = 0
    for board in boards:
        whole.paste(board, ((width - board.width) // 2, top))
        top += board.height
    return whole


@lru_cache(maxsize=64)
def disc_mask(diameter: float, hole: float = 0.0) -> Image.Image:
    """A disc as a mask to paste, with a hole of that share of its diameter."""
    side = math.ceil(diameter)
    mask = Image.new("L", (side * _OVERSAMPLING,) * 2)
    pen = ImageDraw.Draw(mask)
    for size, value in ((diameter, 255), (hole * diameter, 0)):
        first = (side - size) / 2 * _OVERSAMPLING
        if size:
            pen.ellipse((first, first, *(mask.width - 1 - first,) * 2), fill=value)
    return mask.reduce(_OVERSAMPLING)


def write(
    image: Image.Image,
    text: str,
    square: tuple[int, int, int],
    color: Color,
    size: float = 0.65,
    weight: float = 0.0,
) -> None:
    """Write `text` in the middle of a square (left, top, side), smaller if it does not fit.

    `size` is the height of the font as a share of the side, `weight` as in `text_mask`.
    """
    left, top, side = square
    mask = text_mask(text, size * side, weight)
    if mask.width > side - 2:
        mask = text_mask(text, size * side * (side - 2) / mask.width, weight)
    image.paste(color, (left + (side - mask.width) // 2, top + (side - mask.height) // 2), mask)


def _caption_strip(caption: str, width: int, text: float, cell: int) -> Image.Image:
    """One centred line."""
    image = Image.new("RGB", (width, math.ceil(1.15 * text) + margin(cell) // 2), PAPER)
    line = text_mask(caption, text)
    room = width - 2 * margin(cell)
    if line.width > room:
        line = line.copy()
        line.thumbnail((room, line.height))
    image.paste(CAPTION, ((width - line.width) // 2, (math.ceil(1.15 * text) - line.height) // 2), line)
    return image


def _q_strip(q: tuple[float, float], width: int, text: float, cell: int) -> Image.Image:
    """A bar each for halt and continue: name, bar from 0 to 1, number."""
    edge, pitch = margin(cell), math.ceil(1.4 * text)
    image = Image.new("RGB", (width, 2 * pitch + edge), PAPER)
    pen = ImageDraw.Draw(image)
    names = ("halt", "continue")
    left = edge + max(text_mask(name, text).width for name in names) + round(0.5 * text)
    right = width - edge - text_mask("0.00", text).width - round(0.5 * text)
    for number, (name, logit, color) in enumerate(zip(names, q, (HALT, CONTINUE), strict=True)):
        middle = number * pitch + pitch // 2
        half = max(2, round(0.28 * text))
        label = text_mask(name, text)
        image.paste(CAPTION, (edge, middle - label.height // 2), label)
        pen.rectangle((left, middle - half, right, middle + half), fill=_TRACK)
        if math.isnan(logit):
            continue
        probability = 0.5 * (1 + math.tanh(logit / 2))
        length = round(probability * (right - left + 1))
        if length:
            pen.rectangle((left, middle - half, left + length - 1, middle + half), fill=color)
        value = text_mask(f"{probability:.2f}", text)
        image.paste(CAPTION, (width - edge - value.width, middle - value.height // 2), value)
    return image


@lru_cache(maxsize=512)
def text_mask(text: str, size: float, weight: float = 0.0) -> Image.Image:
    """A line of text as a mask of mode "L", shared between callers: paste it, do not draw into it.

    `size` is the font's, in pixels; `weight` is added to every edge, as a share of the size.
    """
    big = max(1.0, size * _OVERSAMPLING)
    font = _font(big)
    stroke = round(weight * big)
    left, _, right, _ = font.getbbox(text or " ", anchor="ls")
    top, bottom = -font.getbbox("0", anchor="ls")[1], 0.0
    if not text.isdigit():
        bottom = top * 0.3  # room for the tails of g, p, q; as much above keeps the line centred
        top += bottom
    width = math.ceil((right - left + 2 * stroke) / _OVERSAMPLING)
    height = math.ceil((top + bottom + 2 * stroke) / _OVERSAMPLING)
    mask = Image.new("L", (width * _OVERSAMPLING, height * _OVERSAMPLING))
    # Centered in whole pixels.
    x = (mask.width - (right - left)) / 2 - left
    y = (mask.height + top - bottom) / 2
    ImageDraw.Draw(mask).text((x, y), text, 255, font, "ls", stroke_width=stroke)
    return mask.reduce(_OVERSAMPLING)


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
