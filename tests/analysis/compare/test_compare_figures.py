"""Figures of a comparison: every rule is named, distinguished, and drawn where the report has it."""

import dataclasses
import itertools
import warnings

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from hrm_rl.analysis import figures
from hrm_rl.analysis.compare import compare
from hrm_rl.analysis.compare import figures as compare_figures
from hrm_rl.analysis.compare.cases import make_case
from hrm_rl.analysis.compare.settings import Settings
from hrm_rl.analysis.compare.table import markdown
from hrm_rl.halting.bank.toy import toy_bank

POLICIES = ("fixed:1", "fixed:auto", "q", "margin:auto", "stable:auto", "recall(q)", "oracle")


@pytest.fixture(scope="module")
def report() -> dict:
    case = make_case("toy", toy_bank(100))
    return compare([case], Settings(policies=POLICIES, draws=50)).to_dict()


@pytest.fixture
def drawn(monkeypatch) -> list:
    """The figures that were about to be closed; nothing is written."""
    kept: list = []
    monkeypatch.setattr(compare_figures, "_save", lambda figure, path: kept.append(figure) or path)
    return kept


def test_every_rule_has_a_name_where_its_mark_is(report, drawn, tmp_path) -> None:
    compare_figures.accuracy_compute_figure(report, tmp_path / "a.png")
    (figure,) = drawn
    found = {text.get_text(): (axes, text) for axes in figure.axes for text in axes.texts}
    assert len(found) == sum(len(axes.texts) for axes in figure.axes)  # each once
    adaptive = {"fixed:auto", "q", "margin:auto", "stable:auto", "recall(q)", "oracle"}
    assert adaptive | {"fixed:N", "oracle, all costs"} == set(found)
    for row in report["policies"]:
        if row["policy"] in adaptive:
            axes, text = found[row["policy"]]
            x, y = row["mean_segments"], 100 * row["exact_accuracy"]
            assert text.xy == (x, y)
            assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
            assert axes.get_ylim()[0] < y < axes.get_ylim()[1]


def test_names_do_not_meet_and_colours_do_not_repeat(report, drawn, tmp_path) -> None:
    """Forty rules, most with the same outcome, and names that differ behind the cut."""
    row = report["policies"][2]
    names = [*(f"margin:0.{k}" for k in range(10, 40)), *(f"any({'q, ' * 20}{k})" for k in "abcdefghij")]
    rows = [{**row, "policy": n, "mean_segments": 1 + k % 9 / 3} for k, n in enumerate(names)]
    compare_figures.accuracy_compute_figure({**report, "policies": rows}, tmp_path / "a.png")
    figure = drawn[0]
    FigureCanvasAgg(figure).draw()
    texts = [text for axes in figure.axes for text in axes.texts]
    assert len(texts) == len(rows) + 2 and all(len(text.get_text()) <= 40 for text in texts)
    boxes = {text: Text.get_window_extent(text) for text in texts}  # without its line
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes.values(), 2))
    assert all(box.y0 > 0 and box.y1 < figure.bbox.y1 for box in boxes.values())
    assert all(box.x1 < figure.bbox.x1 for box in boxes.values())
    assert len({text.get_color() for text in texts}) == len(texts)
    for axes in figure.axes:
        ends = [(text.xy, boxes[text]) for text in axes.texts]
        lines = [(axes.transData.transform(at), (b.x0, (b.y0 + b.y1) / 2)) for at, b in ends]
        for one, other in itertools.combinations(lines, 2):
            assert not crossing(*one, *other)


def test_long_names_stand_beside_the_table_of_difficulty(report, tmp_path) -> None:
    names = [f"my_module:{'a_long_name_of_a_rule_' * 9}{k}" for k in "ab"]
    row = report["difficulty"]["policies"][0]
    difficulty = report["difficulty"] | {"policies": [row | {"policy": name} for name in names]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that failed
        compare_figures.difficulty_figure(report | {"difficulty": difficulty}, tmp_path / "a.png")
    assert len({compare_figures._short(name) for name in names}) == 2


def crossing(a, b, c, d) -> bool:
    """Whether the segments a-b and c-d cross, by more than a touch."""

    def side(p, q, r) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < -1 and side(c, d, a) * side(c, d, b) < -1


def test_difficulty_has_a_row_a_policy_and_a_column_a_bin(report, drawn, tmp_path) -> None:
    compare_figures.difficulty_figure(report, tmp_path / "d.png")
    left, right = drawn[0].axes
    bins = report["difficulty"]["bins"]
    for axes in (left, right):
        assert axes.images[0].get_array().shape == (len(POLICIES), len(bins))
        assert len(axes.texts) == len(POLICIES) * len(bins)
    assert [tick.get_text() for tick in left.get_yticklabels()] == list(POLICIES)
    # Rated 0 or 1: a bin is named by its one rating.
    assert right.get_xticklabels()[0].get_text().startswith("0\n(")


def test_calibration_shows_all_segments(report, drawn, tmp_path) -> None:
    compare_figures.calibration_figure(report, tmp_path / "c.png")
    (_, right) = drawn[0].axes
    assert {line.get_label() for line in right.get_lines()} == {"AUROC", "ECE", "Brier score"}
    assert all(len(line.get_xdata()) == 8 for line in right.get_lines())


def test_files_are_written_and_only_those_with_data(report, tmp_path) -> None:
    plain = {**report, "difficulty": None}
    files = compare_figures.draw_figures(plain, tmp_path / "new")
    assert [file.name for file in files] == ["accuracy_compute.png", "calibration.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(f.name for f in files)


def test_names_of_files_are_drawn_as_they_are(report, tmp_path) -> None:
    """A name with dollars and a backslash is not mathematics, and a bar does not end a cell."""
    name = r"lsm:a$\b$|c.safetensors"
    rows = [{**row, "policy": name} if row["policy"] == "q" else row for row in report["policies"]]
    spread = [{**row, "policy": name} for row in report["difficulty"]["policies"]]
    changed = {**report, "policies": rows, "difficulty": {**report["difficulty"], "policies": spread}}
    assert len(compare_figures.draw_figures(changed, tmp_path)) == 3
    assert r"| lsm:a$\b$\|c.safetensors |" in markdown(changed)


def test_one_segment_only_and_all_right(tmp_path) -> None:
    """The narrowest report there is: nothing is divided by zero, nothing is out of range."""
    bank = toy_bank(20)
    bank = dataclasses.replace(bank, correct=np.ones_like(bank.correct)).truncate(1)
    policies = ("q", "fixed:auto", "margin:auto", "oracle")
    found = compare([make_case("toy", bank)], Settings(policies=policies, draws=20))
    assert len(compare_figures.draw_figures(found.to_dict(), tmp_path)) == 3


def test_models_stand_side_by_side_by_their_gflop(tmp_path, monkeypatch) -> None:
    kept: list = []
    monkeypatch.setattr(figures, "save", lambda figure, path: kept.append(figure))
    reports = {}
    for name, gflop, count in (("small", 0.5, 100), ("large", 40.0, 100), ("odd", 2.0, 90)):
        bank = toy_bank(count)
        header = dataclasses.replace(bank.header, gflop_per_segment={"segment": gflop, "logits": 0.1})
        case = make_case(name, dataclasses.replace(bank, header=header))
        found = compare([case], Settings(policies=("q", "abstain(q, margin:0.5)"), draws=50))
        reports[name] = found.to_dict()
    figures.accuracy_gflop_figure(reports, tmp_path / "a.png")
    figures.risk_figure(reports["small"], tmp_path / "b.png")
    (by_gflop,), (by_coverage,) = (figure.axes for figure in kept)
    names = [text.get_text() for text in by_gflop.get_legend().get_texts()]
    assert names == ["small", "large", "odd (other puzzles)"]
    ends = sorted(line.get_xdata()[-1] for line in by_gflop.lines if line.get_linewidth() < 1)
    assert ends == [8 * 0.5, 8 * 2.0, 8 * 40.0]
    curve, mark = by_coverage.lines
    selective = reports["small"]["policies"][1]["selective"]
    assert curve.get_ydata() == pytest.approx(100 * np.array(selective["curve"]["risk"]))
    assert mark.get_xdata() == pytest.approx([100 * selective["coverage"]])
