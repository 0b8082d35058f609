"""`hrm-rl compare`: of banks and of runs, what it writes, what it refuses."""

import dataclasses
import json
import shutil

import pytest
import torch

from hrm_rl import compare
from hrm_rl.analysis.compare import records
from hrm_rl.halting import SegmentFeatures, TraceBank
from hrm_rl.halting.bank.toy import toy_bank
from hrm_rl.halting.rules import Entropy, Margin, ThresholdRule
from hrm_rl.model import HRM

FEW = ("--draws", "50", "--costs", "0.01", "--policies")


@pytest.fixture(scope="module")
def banks(tmp_path_factory) -> dict[str, str]:
    """Toy banks of two models, in files."""
    folder = tmp_path_factory.mktemp("banks")
    files = {}
    for seed, name in enumerate(("one", "two")):
        bank = toy_bank(60, seed)
        header = dataclasses.replace(
            bank.header, model_hash=name, seconds_per_segment={"1": 0.01, "32": 0.04}
        )
        files[name] = str(folder / f"{name}.safetensors")
        dataclasses.replace(bank, header=header).save(files[name])
    return files


@pytest.fixture
def no_figures(monkeypatch) -> None:
    """They take most of the time."""
    monkeypatch.setattr(records, "_draw", lambda report, folder: [])


def test_banks_are_compared_and_written(hrm_rl, banks, tmp_path) -> None:
    out = tmp_path / "new" / "folder"
    words = (banks["one"], banks["two"], "--out", out, "--json", *FEW, "q", "lsm:auto", "hindsight")
    said = hrm_rl("compare", *words).json
    assert [row["policy"] for row in said["policies"]] == ["q", "lsm:auto", "oracle"]
    assert [bank["name"] for bank in said["banks"]] == ["one", "two"]
    assert json.loads((out / "compare.json").read_text()) == said
    assert "| lsm:auto |" in (out / "compare.md").read_text()
    assert len(list((out / "rules").iterdir())) == 2
    for figure in said["files"]["figures"]:
        assert (out / figure.rsplit("/")[-1]).is_file()


@pytest.mark.usefixtures("no_figures")
def test_the_function_gives_what_the_command_prints(hrm_rl, banks, tmp_path) -> None:
    said = hrm_rl("compare", banks["one"], "--out", tmp_path, "--json", *FEW, "q", "margin:auto").json
    options = {"policies": ["q", "margin:auto"], "draws": 50, "costs": [0.01]}
    found = compare(banks["one"], **options)
    printed = found.to_dict()
    for part in ("policies", "curves", "calibration", "difficulty", "banks", "settings"):
        assert printed[part] == said[part]
    assert found["margin:auto"].exact_accuracy == said["policies"][1]["exact_accuracy"]
    with pytest.raises(KeyError, match="kl"):
        found["kl"]
    loaded = compare([TraceBank.load(banks["one"])], **options)
    assert loaded.to_dict()["policies"] == said["policies"] and loaded.banks[0].file is None


class Gap(ThresholdRule):
    """The signal of the rule `margin`."""

    def signal(self, features: SegmentFeatures) -> torch.Tensor:
        return features.margin


class Unfinished(ThresholdRule):
    """A rule without a signal."""


def test_rules_are_compared_as_their_specs(banks) -> None:
    def sure(features: SegmentFeatures) -> torch.Tensor:
        return features.margin >= 0.5

    policies = [Gap, Margin(0.5), sure, "margin:auto", Entropy]
    found = compare(banks["one"], policies, baseline=sure, draws=50, costs=[0.01])
    auto, built_in, own, same_auto, entropy = (row.policy for row in found.policies)
    assert (built_in, entropy) == ("margin:0.5", "entropy:auto")
    assert own.endswith("sure") and found.settings.baseline == own
    assert found[auto].mean_segments == found[same_auto].mean_segments
    assert found[own].exact_accuracy == found[built_in].exact_accuracy
    assert own in str(found) and "gain: 0 = the best constant" in str(found)


def test_one_policy_needs_no_list(banks) -> None:
    for policy in ("q", Margin(0.5), Gap):
        assert compare(banks["one"], policy, draws=50, costs=[0.01]).policies[0].mean_segments > 0


@pytest.mark.parametrize(
    ("policies", "said"),
    [
        ("margin", "margin"),
        (Unfinished, "needs a method signal"),
        (lambda features: features.confidance > 0, "did you mean 'confidence'"),
        ([type("Local", (Gap,), {"__qualname__": "f.<locals>.Local"})], "top of a module"),
        ([dict], "not a ThresholdRule"),
        ([3], "got 3"),
        ([lambda features: features.margin > 0, lambda features: features.kl < 1], "two rules"),
    ],
)
def test_policies_that_are_not_rules(banks, policies, said) -> None:
    with pytest.raises(ValueError, match=said):
        compare(banks["one"], policies)


@pytest.mark.usefixtures("no_figures")
def test_options_of_recording_change_nothing_for_banks(hrm_rl, banks, tmp_path) -> None:
    options = ("--dtype", "bfloat16", "--threads", 3)
    said = hrm_rl("compare", banks["one"], *FEW, "q", "--out", tmp_path / "a", *options)
    assert "Banks are recorded already, so these have no effect: dtype, threads." in said.err


@pytest.mark.usefixtures("no_figures")
def test_table_fits_120_columns_and_shortens_nothing(hrm_rl, banks, tmp_path) -> None:
    said = hrm_rl("compare", banks["one"], "--out", tmp_path, "--draws", 50, "--costs", 0.01)
    assert said.code == 0, said.err
    table = said.out.split("Chosen on")[0]
    assert max(map(len, table.splitlines())) <= 120 and "…" not in table
    for policy in ("second-order:auto", "calm(confidence)", "recall(q)", "fixed:8"):
        assert f"\n{policy} " in table
    assert "confidence:0." in said.out and "compare.md" in said.out


@pytest.mark.usefixtures("no_figures")
def test_a_run_is_recorded_once_and_its_rules_work_live(hrm_rl, made, tmp_path) -> None:
    words = ("compare", made / "run", "--out", tmp_path, "--puzzles", 20, "--json", *FEW)
    first = hrm_rl(*words, "q", "lsm:auto", "fixed:LIMIT")
    again = hrm_rl(*words, "q", "lsm:auto", "fixed:LIMIT")
    assert "Recording 40 puzzles" in first.err and "Recording" not in again.err
    assert again.json["policies"] == first.json["policies"]
    (bank,) = first.json["banks"]
    assert bank["file"] == str(tmp_path / "bank-run.safetensors") and bank["test_puzzles"] == 20
    learned = first.json["policies"][1]
    spec = learned["spec"][0]
    live = hrm_rl("eval", made / "run", "--halting", spec, "--puzzles", 20, "--json").json
    assert live["mean_segments"] == pytest.approx(learned["mean_segments"])
    assert live["exact_accuracy"] == pytest.approx(learned["exact_accuracy"])
    other = hrm_rl(*words, "q", "--max-segments", 2)
    assert "Recording 40 puzzles, 2 segments" in other.err
    assert other.json["settings"]["max_segments"] == 2
    otherwise = hrm_rl(*words, "q", "--max-segments", 2, "--dtype", "float64")
    assert otherwise.json["banks"][0]["dtype"] == "float64"


def test_compute_beside_segments(hrm_rl, made, tmp_path) -> None:
    """GFLOP follow from segments, and an earlier report is drawn beside a new one."""
    words = ("compare", made / "run", "--puzzles", 4, *FEW, "q", "fixed:2", "oracle")
    said = hrm_rl(*words, "--out", tmp_path / "a", "--json", "--seconds").json
    each = said["banks"][0]["gflop_per_segment"]["segment"]
    assert [row["gflop"] / each for row in said["policies"]] == pytest.approx(
        [row["mean_segments"] for row in said["policies"]]
    )
    assert said["policies"][1]["measured"]["batch_1"] > 0 and "measured" not in said["policies"][2]
    other = hrm_rl(*words, "--out", tmp_path / "b", "--beside", tmp_path / "a")
    assert "GFLOP" in other.out and (tmp_path / "b" / "accuracy_gflop.png").is_file()


@pytest.mark.usefixtures("no_figures")
def test_a_recording_of_another_model_is_refused(hrm_rl, made, config_of, tmp_path) -> None:
    model = tmp_path / "model"
    shutil.copytree(made / "model4", model)
    words = ("compare", model, "--out", tmp_path / "out", "--puzzles", 5, *FEW, "q")
    assert hrm_rl(*words).code == 0
    torch.manual_seed(1)
    HRM(config_of(4)).save_pretrained(model)
    message = hrm_rl(*words).refusal
    assert "bank-model.safetensors records another model" in message and "--out" in message


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("one", "--policies", "vocc:blinkered:auto"), ("vocc:blinkered", "did you mean 'voc'")),
        (("one", "--policies", "math:sqrt:auto"), ("math:sqrt", "ThresholdRule")),
        (("one", "--baseline", "qq"), ("'qq'", "known")),
        (("one", "one"), ("given twice",)),
        (("one", "--cost", "1.5"), ("cost", "[0, 1)", "1.5")),
        (("one", "--puzzles", "0"), ("--puzzles", ">= 1")),
        (("one", "--data", "{}/p.csv"), ("p.csv is for runs", "a bank holds the puzzles")),
        (("none.safetensors",), ("none.safetensors", "hrm-rl trace")),
        ((), ("give a run or a bank",)),
        (("one", "--seconds"), ("give runs instead of banks",)),
        (("one", "--beside", "{}/no"), ("no report at", "hrm-rl compare RUN")),
        (("one", "--out", "{}/file"), ("is a file",)),
        (("one", "--out", "{}/a, b"), ("no comma",)),
    ],
)
def test_refusals_write_nothing(hrm_rl, banks, tmp_path, words, said) -> None:
    (tmp_path / "file").touch()
    given = [banks.get(word, word.format(tmp_path)) for word in words]
    out = () if "--out" in words else ("--out", tmp_path / "out")
    message = hrm_rl("compare", *given, *out).refusal
    assert all(word in message for word in said), message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs_or_banks": None}, "folders of runs, banks or their files, got NoneType"),
        ({"runs_or_banks": [3]}, "folders of runs, banks or their files, got int"),
        ({"puzzles": 2.5}, "puzzles must be an integer >= 1, got 2.5"),
        ({"max_segments": "2"}, "max_segments must be an integer >= 1, got '2'"),
        ({"cost": "a"}, r"cost must be a number in \[0, 1\), got 'a'"),
        ({"costs": 0.1}, "costs must be several numbers, got 0.1"),
        ({"costs": ["a"]}, r"costs must be numbers in \[0, 1\), got 'a'"),
        ({"draws": 0}, "draws must be an integer >= 1, got 0"),
        ({"seed": "x"}, "seed must be an integer >= 0, got 'x'"),
        ({"policies": [3]}, "a policy is a spec, a rule, or the class of a ThresholdRule; got 3"),
    ],
)
def test_arguments_of_the_function_are_checked(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(**{"runs_or_banks": toy_bank(20), "policies": ["q"], **arguments})


def test_the_baseline_is_the_rule_that_the_runs_learned(caplog: pytest.LogCaptureFixture) -> None:
    bank = toy_bank(60)
    other = dataclasses.replace(bank, header=dataclasses.replace(bank.header, trained_rule="q-halt:0"))
    code = dataclasses.replace(bank, header=dataclasses.replace(bank.header, trained_rule="os:getcwd"))
    for given, rule in ((bank, "q"), (other, "q-halt:0")):
        assert compare(given, ["fixed:2"], draws=10).settings.baseline == rule
    names = [row.policy for row in compare(other, draws=10).policies]
    assert "q" not in names and {"q-halt:0", "recall(q-halt:0)", "q-halt:auto"} < {*names}
    assert "Q_continue" not in caplog.text
    assert compare(code, ["fixed:2"], draws=10).settings.baseline == "q"
    compare(other, ["q"], draws=10)
    assert "was trained to stop by q-halt:0, so its Q_continue is untrained" in caplog.text


def test_fewer_puzzles_than_asked_for_are_named(caplog: pytest.LogCaptureFixture) -> None:
    compare(toy_bank(60), ["fixed:2"], draws=10, puzzles=500)
    assert "puzzles, fewer than 500: all are used" in caplog.text


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ("lsm:strange:auto", "cannot be chosen; try lsm:auto"),
        ("first-correct:auto", "has nothing to choose"),
        ("calm(q)", "has no grid of thresholds"),
        ("abstain(q, stable:auto)", "needs a given RULE and a calibrated BY"),
        ("any(stable:auto, kl:auto)", "only one can be chosen"),
        ("select(q, first)", "a run is recorded with one a puzzle"),
    ],
)
def test_a_run_is_not_recorded_for_a_rule_that_is_refused(
    policy: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hrm_rl.training.open_run.record_run", lambda *_, **__: pytest.fail("recorded"))
    for options in ({"policies": [policy]}, {"policies": ["q"], "baseline": policy}):
        with pytest.raises(ValueError, match=words):
            compare("sudoku-4x4", **options)


def test_runs_that_cannot_be_pooled_are_refused_before_the_first_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hrm_rl.training.open_run.record_run", lambda *_, **__: pytest.fail("recorded"))
    with pytest.raises(ValueError, match="they have 16 and 81 cells a puzzle"):
        compare(["sudoku-4x4", "sudoku-9x9"], ["q"], puzzles=10)
    with pytest.raises(FileNotFoundError, match="none"):
        compare(["sudoku-4x4", "none.safetensors"], ["q"], puzzles=10)


@pytest.mark.usefixtures("no_figures")
def test_the_folder_is_named_after_the_runs(hrm_rl, banks, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    hrm_rl("compare", banks["one"], banks["two"], *FEW, "q")
    assert (tmp_path / "reports" / "one-two" / "compare.json").is_file()
