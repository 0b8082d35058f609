"""Boards in TensorBoard: the right puzzles and segments, and no trace in the training itself."""

import dataclasses
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hrm_rl.evaluation.record import record
from hrm_rl.model import HRM
from hrm_rl.puzzles import sudoku
from hrm_rl.training import loop
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.boards import TAG, board_sheet
from hrm_rl.training.run_folder import RunFolder

LIMIT = 6
DRAW = partial(sudoku.picture, size=4)


@pytest.fixture(scope="module")
def boards(preset) -> Preset:
    """A run of two validations."""
    model = dataclasses.replace(preset().model, H_cycles=1, L_cycles=1, halt_max_steps=LIMIT)
    return preset(model=model, max_steps=4, validate_every=2)


def train(preset: Preset, path: Path, **changes: Any) -> loop.Trainer:
    run = RunFolder(path)
    trainer = loop.Trainer(preset, Compute(), run)
    trainer.data = dataclasses.replace(trainer.data, **changes)
    run.create(preset, Compute())
    trainer.train(progress=False)
    return trainer


def images(path: Path) -> dict[str, list[Any]]:
    board = EventAccumulator(str(path / "tensorboard"))
    board.Reload()
    return {tag: board.Images(tag) for tag in board.Tags()["images"]}


def test_rows_are_puzzles_and_columns_segments(boards) -> None:
    model, puzzles = HRM(boards.model), sudoku.generate(3, 4)
    random = torch.get_rng_state()
    sheet = board_sheet(model, puzzles, DRAW)
    assert torch.equal(torch.get_rng_state(), random)
    bank = record(model, puzzles, LIMIT, drafts=True)
    q_halt, q_continue = bank.features["q_halt"], bank.features["q_continue"]
    assert bank.drafts is not None
    for n in range(3):
        for column, segment in enumerate((1, 2, 4, LIMIT)):
            tile = DRAW(
                puzzles.inputs[n],
                draft=bank.drafts[n, segment - 1],
                labels=puzzles.labels[n],
                caption=f"segment {segment} of {LIMIT}",
                q=(q_halt[n, segment - 1], q_continue[n, segment - 1]),
                cell=28,
            )
            height, width, _ = tile.shape
            place = sheet[n * height : (n + 1) * height, column * width : (column + 1) * width]
            np.testing.assert_array_equal(place, tile)
    assert sheet.shape == (3 * height, 4 * width, 3)


@pytest.mark.parametrize(("limit", "columns"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4)])
def test_no_segment_beyond_the_limit_and_none_twice(boards, limit: int, columns: int) -> None:
    config = dataclasses.replace(boards.model, halt_max_steps=limit)
    sheet = board_sheet(HRM(config), sudoku.generate(1, 4), DRAW)
    assert sheet.shape[1] == columns * DRAW(np.ones(16, int), cell=28).shape[1]


def test_a_compiled_model_does_not_compile_for_it(boards) -> None:
    compiled = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    model = HRM(boards.model)
    model.compile_blocks(backend=backend)
    board_sheet(model, sudoku.generate(2, 4), DRAW)
    assert not compiled


def test_every_validation_writes_a_sheet_and_changes_nothing(boards, tmp_path: Path) -> None:
    trainer = train(boards, tmp_path / "run")
    written = images(tmp_path / "run")
    assert list(written) == [TAG]
    assert [image.step for image in written[TAG]] == [2, 4]
    puzzles = trainer.data.validation.take(slice(4))
    sheet = board_sheet(trainer.evaluated_model, puzzles, DRAW)
    last = written[TAG][-1]
    assert (last.height, last.width, 3) == sheet.shape
    stored = np.asarray(Image.open(BytesIO(last.encoded_image_string)))
    np.testing.assert_array_equal(stored, sheet)
    plain = train(boards, tmp_path / "plain", picture=None)
    assert images(tmp_path / "plain") == {}
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, plain.model.state_dict()[name]), name
