"""Grid puzzles of reasoning-gym as a pool: generated there, tokenised here, scored there.

    from hrm_rl.puzzles import reasoning_gym

    pool = reasoning_gym.load("n_queens", size=100, seed=0, config={"n": 6, "max_remove": 6})
    pool.arrays.inputs  # int32 [100, 36]
    pool.scores(pool.arrays.inputs, pool.arrays.labels, pool.arrays.labels)  # float32 [100], all 1

Reasoning-gym (Stojanovski et al., 2025, arXiv:2505.24760; `pip install -e ".[reasoning-gym]"`) makes puzzle
k of seed s from s + k. So close seeds share puzzles; the split, by a hash of the question, holds puzzles out.
`FORMATS` has the datasets that fit.
"""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from hrm_rl.messages import pip_install
from hrm_rl.puzzles.base.picture import Drawable, Shown
from hrm_rl.puzzles.base.tokens import as_tokens, hash_rows
from hrm_rl.puzzles.family import SPLITS, in_split
from hrm_rl.puzzles.pool import IGNORE_LABEL, PuzzleArrays
from hrm_rl.puzzles.reasoning_gym import picture as drawing
from hrm_rl.puzzles.reasoning_gym.formats import FORMATS, MISFITS, PAD, Entry, GridFormat

ADAPTER_VERSION = 1
"""Part of every source name; another layout of cells is another version."""

# Puzzles made for each one returned, at most; a validation split takes every sixteenth.
_MOST_MADE = 64


@dataclass(frozen=True, eq=False)
class ReasoningGymPool(Drawable):
    """Puzzles of one dataset, with the entries that score them. It can be pickled."""

    dataset: str
    """Its name in reasoning-gym."""
    config: Mapping[str, Any]
    """Settings of the dataset that are not its defaults."""
    format: GridFormat
    arrays: PuzzleArrays
    entries: tuple[Entry, ...] = field(repr=False)
    """Each puzzle as reasoning-gym made it."""

    pixels: ClassVar = 24

    def scores(self, inputs: ArrayLike, answers: ArrayLike, labels: ArrayLike) -> NDArray[Any]:
        """Scores by the dataset's `score_answer`: float32 [N]; 1 is right.

        All arrays are int [N, S]. Answers without a text (a symbol that no answer has) and padded rows
        without labels score 0. Raises ValueError for other shapes, or a puzzle of another pool.
        """
        cells = self.format.seq_len
        given = [
            as_tokens(name, values, cells)
            for name, values in (("inputs", inputs), ("answers", answers), ("labels", labels))
        ]
        if given[0].ndim != 2 or len({array.shape for array in given}) > 1:
            shapes = ", ".join(str(array.shape) for array in given)
            raise ValueError(f"inputs, answers and labels must all be [N, {cells}], got {shapes}")
        return np.array([self._score(*rows) for rows in zip(*given, strict=True)], np.float32)

    def answer_text(self, inputs: ArrayLike, answer: ArrayLike, labels: ArrayLike) -> str | None:
        """The text of one answer [S], in the dataset's form; None if it has none."""
        question, given, judged = (np.asarray(values) for values in (inputs, answer, labels))
        rows = (judged != IGNORE_LABEL).reshape(self.format.height, self.format.width)
        allowed = self._may_answer[np.clip(given, 0, self.format.vocab_size)]
        if not rows.any() or not allowed[rows.ravel()].all():
            return None
        texts = [
            [
                [self.format.symbols[token - 1] for token in line[cells]]
                for line, cells in zip(tokens.reshape(rows.shape), rows, strict=True)
                if cells.any()
            ]
            for tokens in (question, given)
        ]
        return self.format.write(*texts)

    @property
    def vocab_size(self) -> int:
        return self.format.vocab_size

    @property
    def seq_len(self) -> int:
        return self.format.seq_len

    def text(self, shown: Shown, color: bool) -> str:
        return drawing.text(self.format, shown, color)

    def board(self, shown: Shown, cell: int) -> Image.Image:
        return drawing.board(self.format, shown, cell)

    def _score(
        self, question: NDArray[np.int32], answer: NDArray[np.int32], labels: NDArray[np.int32]
    ) -> float:
        if (labels == IGNORE_LABEL).all():
            return 0.0
        row = self._rows.get(question.tobytes() + labels.tobytes())
        if row is None:
            raise ValueError(f"a puzzle to score is not in this pool of {self.dataset!r}")
        text = self.answer_text(question, answer, labels)
        return 0.0 if text is None else float(self._dataset.score_answer(text, self.entries[row]))

    @cached_property
    def _may_answer(self) -> NDArray[np.bool_]:
        """By token; the last entry stands for unknown tokens."""
        symbols = self.format.symbols
        return np.array([False, *(symbol in self.format.answers for symbol in symbols), False])

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        pairs = zip(self.arrays.inputs, self.arrays.labels, strict=True)
        return {puzzle.tobytes() + label.tobytes(): row for row, (puzzle, label) in enumerate(pairs)}

    @cached_property
    def _dataset(self) -> Any:
        return _create(self.dataset, 1, 0, self.config)

    def __reduce__(self) -> tuple[Any, ...]:
        # Formats hold nested functions and datasets hold lambdas, so both are rebuilt.
        return _restored, (self.dataset, dict(self.config), self.arrays, self.entries)


def _restored(
    dataset: str, config: dict[str, Any], arrays: PuzzleArrays, entries: tuple[Entry, ...]
) -> ReasoningGymPool:
    form = FORMATS[dataset](_create(dataset, 1, 0, config).config)
    return ReasoningGymPool(dataset, config, form, arrays, entries)


def load(
    dataset: str,
    *,
    size: int = 1000,
    seed: int = 0,
    split: str | None = None,
    config: Mapping[str, Any] | None = None,
) -> ReasoningGymPool:
    """The first `size` puzzles of a seed that lie in a split.

    Reasoning-gym makes one in a fraction of a millisecond, or in tens to hundreds of milliseconds for
    game_of_life, sudoku and futoshiki.

    Args:
        dataset: a name of `FORMATS`.
        size: number of puzzles N.
        seed: of reasoning-gym; 0 or more.
        split: one of train, validation and test, by a hash of the question's cells; None takes all.
        config: settings of the dataset by their names in reasoning-gym, such as ``{"min_empty": 8}``.

    Raises ValueError if reasoning-gym is not installed, has no such dataset or setting, the dataset is not a
    grid, or there are too few puzzles in the split.
    """
    if size < 1:
        raise ValueError(f"size must be 1 or more, got {size}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or None; got {split!r}")
    settings = dict(config or {})
    check_fits(dataset)
    most = size if split is None else _MOST_MADE * size + 1000
    made = _create(dataset, most, seed, settings)
    form = FORMATS[dataset](made.config)
    kept: list[tuple[int, Entry, NDArray[np.int32], NDArray[np.int32]]] = []
    for number in range(most):
        entry = made[number]
        inputs, labels = tokenise(form, entry, f"{dataset}, puzzle {number} of seed {seed}")
        if split is None or in_split(hash_rows(inputs[None]), split)[0]:
            kept.append((number, entry, inputs, labels))
        if len(kept) == size:
            break
    if len(kept) < size:
        raise ValueError(
            f"{most:,} puzzles of {dataset} had {len(kept)} in the {split!r} split, wanted {size}: "
            "with this config there are too few different ones"
        )
    numbers, entries, questions, answers = zip(*kept, strict=True)
    name = f"reasoning-gym-{_version()}-v{ADAPTER_VERSION}/{dataset}"
    name = "/".join([name, *(f"{key}={value}" for key, value in settings.items())])
    arrays = PuzzleArrays(
        inputs=np.stack(questions),
        labels=np.stack(answers),
        source=tuple(f"{name}/seed={seed}/{split or 'all'}/{number}" for number in numbers),
    )
    pool = ReasoningGymPool(dataset, settings, form, arrays, entries)
    scores = pool.scores(arrays.inputs, arrays.labels, arrays.labels)
    if (scores < 1).any():
        row = int(np.argmin(scores))
        raise ValueError(
            f"reasoning-gym {_version()} gives its own answer to {arrays.source[row]} "  # type: ignore[index]
            f"a score of {scores[row]:.2f}: this adapter does not know its form"
        )
    return pool


def check_fits(dataset: str) -> None:
    """Raise ValueError for a dataset that is not a grid, naming those that are."""
    if dataset in FORMATS:
        return
    why = f": {MISFITS[dataset]}" if dataset in MISFITS else " as a grid of cells"
    raise ValueError(
        f"reasoning-gym's {dataset!r} does not fit{why}. Datasets that do: {', '.join(sorted(FORMATS))}"
    )


def tokenise(
    form: GridFormat, entry: Entry, name: str = "an entry"
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The inputs and labels of an entry, int32 [S] each.

    Raises ValueError for a puzzle that is larger than the format, or has an unknown symbol.
    """
    question, answer = form.read(entry)
    inputs = np.full((form.height, form.width), PAD, np.int32)
    labels = np.full((form.height, form.width), IGNORE_LABEL, np.int32)
    tokens = {symbol: token for token, symbol in enumerate(form.symbols, start=1)}
    for rows, cells in ((question, inputs), (answer, labels)):
        if len(rows) > form.height or max(map(len, rows)) > form.width:
            raise ValueError(
                f"{name} has {len(rows)} rows of up to {max(map(len, rows))} cells, more than "
                f"{form.height} x {form.width}"
            )
        for row, line in enumerate(rows):
            for column, symbol in enumerate(line):
                if symbol is None:
                    continue
                if symbol not in tokens:
                    raise ValueError(
                        f"{name} has {symbol!r} in row {row + 1}, column {column + 1}; known are "
                        + " ".join(map(repr, form.symbols))
                    )
                cells[row, column] = tokens[symbol]
    return inputs.ravel(), labels.ravel()


def _create(dataset: str, size: int, seed: int, config: Mapping[str, Any]) -> Any:
    try:
        from reasoning_gym import create_dataset
    except ImportError:
        raise ValueError(
            f"these puzzles come with the package reasoning-gym: {pip_install('reasoning-gym')}"
        ) from None
    for name in ("size", "seed"):
        if name in config:
            raise ValueError(f"config must not have {name!r}: it is a separate argument")
    try:
        return create_dataset(dataset, size=size, seed=seed, **config)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"reasoning-gym's {dataset} with config {dict(config)}: {error}") from None


def _version() -> str:
    try:
        return importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
