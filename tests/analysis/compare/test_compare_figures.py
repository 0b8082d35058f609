"""Figures of a comparison: every rule is named, distinguished, and drawn where the report has it."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("matplotlib")

import matplotlib.pyplot as plt

from hrm_rl.analysis.compare import compare
from hrm_rl.analysis.compare import figures as compare_figures
from hrm_rl.analysis.compare.cases import make_case
from hrm_rl.analysis.compare.settings import Settings
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
    yield kept
    plt.close("all")


def test_every_rule_is_in_the_legend_once_and_where_it_stands(report, drawn, tmp_path) -> None:
    compare_figures.accuracy_compute_figure(report, tmp_path / "a.png")
    (figure,) = drawn
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    adaptive = {"fixed:auto", "q", "margin:auto", "stable:auto", "recall(q)"}
    assert adaptive | {"fixed:N", "oracle", "oracle at 0.01"} == set(labels)
    assert len(labels) == len(set(labels))
    for axes in figure.axes:
        marks = {line.get_label(): line for line in axes.get_lines()}
        for row in report["policies"]:
            if row["policy"] not in adaptive:
                continue
            x, y = marks[row["policy"]].get_data()
            assert (x[0], y[0]) == (row["mean_segments"], 100 * row["exact_accuracy"])
            if axes is figure.axes[0] or row["policy"] != "fixed:auto":
                assert axes.get_xlim()[0] < x[0] < axes.get_xlim()[1]
                assert axes.get_ylim()[0] < y[0] < axes.get_ylim()[1]


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


def test_one_segment_only_and_all_right(tmp_path) -> None:
    """The narrowest report there is: nothing is divided by zero, nothing is out of range."""
    bank = toy_bank(20)
    bank = dataclasses.replace(bank, correct=np.ones_like(bank.correct)).truncate(1)
    policies = ("q", "fixed:auto", "margin:auto", "oracle")
    found = compare([make_case("toy", bank)], Settings(policies=policies, draws=20))
    assert len(compare_figures.draw_figures(found.to_dict(), tmp_path)) == 3
