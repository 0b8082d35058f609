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
from hrm_rl.training.data import training_data
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.presets import Preset
from hrm_rl.training.report.boards import TAG, board_sheet, segment_figures, watch
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
    board = EventAccumulator(str(path))
    board.Reload()
    return {tag: board.Images(tag) for tag in board.Tags()["images"]}


def test_rows_are_puzzles_and_columns_segments(boards) -> None:
    puzzles = sudoku.generate(3, 4)
    bank = record(HRM(boards.model), puzzles, LIMIT, drafts=True)
    q_halt, q_continue = bank.features["q_halt"], bank.features["q_continue"]
    assert bank.drafts is not None
    q_halt[:], q_continue[:] = -1.0, 1.0
    q_halt[0, 2], q_continue[0, 2] = 1.0, -1.0  # the first puzzle stops, the others do not
    sheet = board_sheet(bank, "q", DRAW)
    captions = [f"segment {segment} of {LIMIT}" for segment in (1, 2, 4, LIMIT)]
    for n, stop in enumerate((3, LIMIT, LIMIT)):
        ends = "stops after 3" if stop == 3 else "runs to the limit"
        columns = zip((1, 2, 4, LIMIT, stop), (*captions, ends), strict=True)
        for column, (segment, caption) in enumerate(columns):
            tile = DRAW(
                puzzles.inputs[n],
                draft=bank.drafts[n, segment - 1],
                labels=puzzles.labels[n],
                caption=caption,
                q=(q_halt[n, segment - 1], q_continue[n, segment - 1]),
                cell=28,
            )
            height, width, _ = tile.shape
            place = sheet[n * height : (n + 1) * height, column * width : (column + 1) * width]
            np.testing.assert_array_equal(place, tile)
    assert sheet.shape == (3 * height, 5 * width, 3)


@pytest.mark.parametrize(("limit", "columns"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4)])
def test_no_segment_beyond_the_limit_and_none_twice(boards, limit: int, columns: int) -> None:
    config = dataclasses.replace(boards.model, halt_max_steps=limit)
    bank = record(HRM(config), sudoku.generate(1, 4), limit, drafts=True)
    sheet = board_sheet(bank, "q", DRAW)
    assert sheet.shape[1] == (columns + 1) * DRAW(np.ones(16, int), cell=28).shape[1]


def test_a_compiled_model_does_not_compile_for_it_nor_does_it_draw_numbers(boards) -> None:
    compiled = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        compiled.append(graph)
        return graph.forward

    model = HRM(boards.model)
    model.compile_blocks(backend=backend)
    random = torch.get_rng_state()
    watch(model, training_data(boards.data, torch.device("cpu")), 2)
    assert torch.equal(torch.get_rng_state(), random)
    assert not compiled


def test_figures_after_each_segment_are_those_of_evaluations(boards) -> None:
    torch.manual_seed(1)
    model, data = HRM(boards.model), training_data(boards.data, torch.device("cpu"))
    bank = watch(model, data, boards.batch_size)
    bank.correct[::2, 2:] = True
    figures = segment_figures(bank, learns_q=True)
    halves = [float(bank.correct[:, k].mean()) for k in range(LIMIT)]
    after = [f"eval_after_segment/{k:02d}" for k in range(1, LIMIT + 1)]
    assert [figures[tag] for tag in after] == halves and halves[2] >= 0.5
    probability = 1 / (1 + np.exp(-bank.features["q_halt"].astype(float)))
    brier = ((probability - bank.correct) ** 2).mean()
    assert figures["eval/q_halt_brier"] == pytest.approx(brier)
    assert 0 < figures["eval/q_halt_ece"] < 1
    assert segment_figures(bank, learns_q=False).keys() == set(after)


def test_every_validation_writes_a_sheet_and_changes_nothing(boards, tmp_path: Path) -> None:
    trainer = train(boards, tmp_path / "run")
    written = images(tmp_path / "run")
    assert list(written) == [TAG]
    assert [image.step for image in written[TAG]] == [2, 4]
    bank = watch(trainer.evaluated_model, trainer.data, boards.batch_size)
    sheet = board_sheet(bank.take(slice(4)), trainer.rule, DRAW)
    last = written[TAG][-1]
    assert (last.height, last.width, 3) == sheet.shape
    stored = np.asarray(Image.open(BytesIO(last.encoded_image_string)))
    np.testing.assert_array_equal(stored, sheet)
    plain = train(boards, tmp_path / "plain", picture=None)
    assert images(tmp_path / "plain") == {}
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, plain.model.state_dict()[name]), name
