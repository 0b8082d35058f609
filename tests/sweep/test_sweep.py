"""A sweep: which trials it runs, what it reports, and the folders that it refuses."""

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from hrm_rl.analysis.statistics.stats import mean_interval
from hrm_rl.cli import main
from hrm_rl.sweep import sweep
from hrm_rl.sweep.report import notes, table
from hrm_rl.sweep.trial_files import TrialFiles

GRID = '[grid]\nlearner.q_target = ["full", "none"]'


def test_a_sweep_trains_every_trial_and_reports_means_over_seeds(write, in_process, tmp_path) -> None:
    study, out = write("seeds = 2", GRID), tmp_path / "out"
    found = sweep(study, out)
    assert len(in_process) == 4 and found["states"] == {"finished": 4}
    assert json.loads((out / "sweep.json").read_text()) == found
    for group in found["groups"]:
        runs = [row for row in found["trials"] if row["group"] == group["group"]]
        assert [row["seed"] for row in runs] == group["seeds"] == [0, 1]
        mean, interval = mean_interval([row["figures"]["cell_accuracy"] for row in runs])
        assert group["figures"]["cell_accuracy"] == {"mean": mean, "ci95": interval}
    lines = (out / "q_target=none/seed-1/metrics.jsonl").read_text().splitlines()
    last = [line for line in map(json.loads, lines) if "eval/exact_accuracy" in line][-1]
    assert found["trials"][3]["figures"]["exact_accuracy"] == last["eval/exact_accuracy"]


def test_the_table_shows_what_varies_and_means_with_intervals() -> None:
    figures = {
        "exact_accuracy": {"mean": 0.987, "ci95": [0.979, 0.9951]},
        "mean_segments": {"mean": 2, "ci95": None},
    }
    groups = [
        {"varied": {"learner.lr": 0.001, "preset": "small"}, "seeds": [0, 1], "figures": figures},
        {"varied": {"learner.lr": 0.002}, "seeds": [], "figures": {}},
    ]
    header, rows = table({"groups": groups})
    assert header == ["lr", "preset", "seeds", "solved", "mean segments"]
    assert rows == [["0.001", "small", "2", "98.7 % [97.9, 99.5]", "2.00"], ["0.002", "", "0", "-", "-"]]


def test_trials_that_were_fitted_differently_are_noted() -> None:
    groups = [{"group": name, "varied": {"learner.lr": lr}} for name, lr in (("lr=1", 1.0), ("lr=10", 10.0))]
    fitted = [("lr=1", "float32", 64), ("lr=1", "float32", 64), ("lr=10", "bfloat16", 32)]
    trials: list[dict[str, Any]] = [
        {"group": group, "state": "finished", "fitted": {"dtype": dtype, "batch_size": rows}}
        for group, dtype, rows in fitted
    ]
    (line,) = notes({"groups": groups, "trials": trials})
    what = "Trials differ in dtype, which was fitted to the machine: float32 (2), bfloat16 (1)."
    assert line == f"{what} Set it in the study."
    for group in groups:
        group["varied"]["dtype"] = "auto"
    assert notes({"groups": groups, "trials": trials}) == []
    trials[1]["fitted"]["batch_size"] = 32
    (line,) = notes({"groups": groups, "trials": trials})
    assert line.startswith("Trials of lr=1 differ in batch_size, ")


def test_finished_trials_are_skipped_and_seeds_and_values_may_be_added(write, in_process, tmp_path) -> None:
    out = tmp_path / "out"
    sweep(write("seeds = 1", GRID), out)
    in_process.clear()
    found = sweep(write("seeds = 2", GRID), out)
    assert [words[2] for words in in_process] == [
        str(out / f"q_target={target}/seed-1") for target in ("full", "none")
    ]
    in_process.clear()
    found = sweep(write("seeds = 2", GRID.replace('"none"]', '"none", "delayed"]')), out, seeds=[0])
    assert [words[2] for words in in_process] == [str(out / "q_target=delayed/seed-0")]
    assert found["states"] == {"finished": 3}


def test_an_interrupted_trial_goes_on(write, in_process, tmp_path) -> None:
    study, out = write(), tmp_path / "out"
    assert sweep(study, out, dry_run=True)["trials"][0]["state"] == "new"
    sweep(study, out)
    shutil.rmtree(out / "all/seed-0/checkpoints/step-0000004")
    assert sweep(study, out, dry_run=True)["trials"][0]["state"] == "unfinished"
    in_process.clear()
    (row,) = sweep(study, out)["trials"]
    assert "--resume" in in_process[0] and row["state"] == "finished" and row["attempts"] == 2


def test_a_failed_trial_is_tried_once_more_and_reported(write, in_process, tmp_path, capsys) -> None:
    study, out = write(last="[grid]\nlearner.lr = [1e-3, 1e38]"), tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(study), "--out", str(out), "--json", "--no-progress"])
    assert ended.value.code == 1
    found = json.loads(capsys.readouterr().out)
    good, bad = found["trials"]
    assert (good["state"], bad["state"], bad["attempts"]) == ("finished", "failed", 2)
    assert bad["failure"].startswith("hrm-rl: ") and found["groups"][1]["seeds"] == []
    with pytest.raises(SystemExit):
        main(["sweep", str(study), "--out", str(out), "--no-progress"])
    assert "lr=1e+38/seed-0 failed 4 times: hrm-rl: " in capsys.readouterr().out


def test_a_dry_run_writes_nothing(write, in_process, tmp_path, capsys) -> None:
    study, out = write("seeds = 3", GRID), tmp_path / "out"
    assert main(["sweep", str(study), "--out", str(out), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("q_target=none/seed-") == 3 and "0 of 4" in printed
    assert not out.exists() and in_process == []


def test_a_folder_of_another_study_is_refused(write, in_process, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    sweep(write(), out)
    for texts, words in (
        (["ema_decay = 0.5"], "holds another study: ema_decay is not given there, 0.5 here"),
        (["", GRID], "it varies nothing, not learner.q_target"),
    ):
        capsys.readouterr()
        assert main(["sweep", str(write(*texts)), "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert main(["sweep", str(write()), "--out", str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err
    assert main(["sweep", str(write()), "--out", str(write())]) == 2
    assert main(["sweep", str(write()), "--workers", "0"]) == 2


def test_two_sweeps_do_not_share_a_folder(write, in_process, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    code = (
        "import sys; from hrm_rl.training.run_folder.lock import FolderLock; lock = FolderLock(sys.argv[1]); "
    )
    code += "lock.acquire(); print('held', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(out)], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        assert main(["sweep", str(write()), "--out", str(out)]) == 2
        assert f"{out} is in use by process {other.pid} on " in capsys.readouterr().err
        other.kill()
    assert main(["sweep", str(write()), "--out", str(out)]) == 0


def test_a_trial_without_a_run_has_no_figures(write, tmp_path) -> None:
    from hrm_rl.sweep import read_study

    files = TrialFiles(tmp_path, read_study(write()).trials()[0])
    assert (files.state(), files.step(), files.figures()) == ("new", 0, {})
    assert files.last_line() == "it printed nothing"
