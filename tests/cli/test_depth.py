"""`hrm-rl depth`: both kinds of weights, what it writes, what it refuses."""

import json

import pytest


def test_a_run_is_judged_with_and_without_its_average(hrm_rl, made, tmp_path) -> None:
    words = ("depth", made / "run", "--out", tmp_path / "d", "--puzzles", 5, "--times", 3)
    said = hrm_rl(*words, "--json").json
    assert list(said["models"]) == ["average", "last weights"]
    average, last = said["models"].values()
    assert [row["multiple"] for row in average] == [1, 2] and average != last
    assert json.loads((tmp_path / "d" / "depth.json").read_text()) == said
    assert (tmp_path / "d" / "depth.png").is_file()
    assert "last weights" in hrm_rl(*words).out
    model = hrm_rl("depth", made / "model4", "--out", tmp_path / "e", "--puzzles", 2, "--times", 1, "--json")
    assert list(model.json["models"]) == ["weights"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--times", 0), "--times must be >= 1"),
        (("--times", 1 << 20), "at most 4,096 are possible; give --times"),
        (("--tolerance", 0), "--tolerance must be > 0"),
        (("--puzzles", 0), "--puzzles must be >= 1"),
        (("--out", "{}/file"), "is a file; name a folder"),
    ],
)
def test_refusals_write_nothing(hrm_rl, made, tmp_path, words, said) -> None:
    (tmp_path / "file").touch()
    given = [str(word).format(tmp_path) for word in words]
    assert said in hrm_rl("depth", made / "run", "--out", tmp_path / "d", *given).refusal
    assert not (tmp_path / "d").exists()
