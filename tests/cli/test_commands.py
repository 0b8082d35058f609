"""Every command on good input: what it writes and prints."""

import json
import shutil

import numpy as np
import pytest
import torch

from hrm_rl import __version__
from hrm_rl.cli import main
from hrm_rl.cli.commands import COMMANDS
from hrm_rl.model import HRM, TRM, from_pretrained
from hrm_rl.puzzles import sudoku
from hrm_rl.training.run_folder import RunFolder

# --- train ----------------------------------------------------------------------------------------


def test_train_learns_from_a_file(hrm_rl, tmp_path) -> None:
    out, file = tmp_path / "run", tmp_path / "mine.csv"
    sudoku.write_csv(file, sudoku.generate(40, 4, seed=1), 4)
    said = hrm_rl("train", "tiny", "--out", out, "--data", file, "--batch-size", 4, "--json")
    assert said.json["run"] == str(out) and said.json["preset"] == "tiny"
    assert said.json["steps"] == 2 and said.json["count"] == 8
    assert "tiny" in said.err and "mine.csv" in said.err  # progress
    stored = RunFolder(out).config()[0]
    assert (stored.batch_size, stored.data.file) == (4, str(file))


def test_the_version(hrm_rl) -> None:
    assert hrm_rl("--version").out.strip() == f"hrm_rl {__version__}"


# --- eval -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "run --puzzles 12",
            {"count": 12, "max_segments": 3, "step": 2, "halting": "q", "data": "generated"},
        ),
        ("run --halting fixed:5 --max-segments 7 --puzzles 3", {"mean_segments": 5, "max_segments": 7}),
        ("model9 --data {made}/puzzles9.csv", {"count": 6}),
        ("model9 --data {made}/puzzles9.csv --puzzles 2", {"count": 2}),
    ],
)
def test_eval(hrm_rl, made, words, expected) -> None:
    run, *options = words.format(made=made).split()
    found = hrm_rl("eval", made / run, *options, "--json").json
    assert {"exact_accuracy", "valid_accuracy", "cell_accuracy", "puzzles_per_second"} <= set(found)
    assert {name: found[name] for name in expected} == expected
    said = hrm_rl("eval", made / run, *options)
    assert said.code == 0 and f"of {found['count']} puzzles solved" in said.out


def test_eval_is_repeatable_and_its_seed_counts(hrm_rl, made) -> None:
    def cells(seed):
        words = ("--puzzles", 20, "--seed", seed, "--json")
        return hrm_rl("eval", made / "model4", *words).json["cell_accuracy"]

    assert cells(0) == cells(0) != cells(1)


# --- solve ----------------------------------------------------------------------------------------


def test_solve_gives_the_answer_and_draws_the_board(hrm_rl, made, question) -> None:
    found = hrm_rl("solve", made / "model9", question, "--json").json
    tokens = sudoku.check_puzzle(sudoku.parse(question), 9)
    assert found["puzzle"] == question and found["solution"] == sudoku.to_text(tokens)
    assert len(found["answer"]) == 81 and found["correct"] == (found["answer"] == found["solution"])
    assert found["cell_accuracy"] == pytest.approx(
        np.mean([a == b for a, b in zip(found["answer"], found["solution"], strict=True)])
    )
    assert 1 <= found["segments"] <= found["max_segments"] == 3 and found["halting"] == "q"
    shown = hrm_rl("solve", made / "model9", question, "--halting", "fixed:3", "--show-drafts", "--json")
    assert len(shown.json["drafts"]) == 3 and shown.json["drafts"][-1] == shown.json["answer"]
    drawn = sudoku.draw(sudoku.parse(question))
    assert hrm_rl("solve", made / "model9", drawn, "--json").json["puzzle"] == question
    said = hrm_rl("solve", made / "model9", question.replace(".", "0"), "--halting", "fixed:2")
    assert said.code == 0 and said.out.count("+---") >= 4
    declining = ("--halting", "abstain(fixed:2, confidence:1)")
    assert "Declined, a draft with" in hrm_rl("solve", made / "model9", question, *declining).out
    assert "after 2 of at most 3 segments." in said.out


# --- import-reference -----------------------------------------------------------------------------


@pytest.fixture
def reference(tmp_path, config_of):
    """A checkpoint with the reference's names, and the model in it."""
    model = HRM(config_of(9, hidden_size=128, pos_encodings="rope", puzzle_emb_ndim=128))
    state = {f"_orig_mod.model.inner.{name}": t for name, t in model.state_dict().items()}
    (tmp_path / "reference").mkdir()
    torch.save(state, tmp_path / "reference" / "step_1")
    return tmp_path / "reference" / "step_1", model


def test_import_without_settings_takes_the_papers(hrm_rl, tmp_path, reference) -> None:
    checkpoint, model = reference
    found = hrm_rl("import-reference", checkpoint, "--out", tmp_path / "ours", "--json").json
    assert found["parameters"] == model.num_parameters()
    loaded = HRM.from_pretrained(tmp_path / "ours")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name].to(tensor.dtype), tensor) or "init" in name
    config = loaded.config
    assert (config.num_heads, config.seq_len, config.halt_max_steps) == (2, 81, 16)
    assert found["config"] == config.to_dict()
    words = ("--puzzles", 2, "--max-segments", 1, "--dtype", "float32", "--json")
    assert hrm_rl("eval", tmp_path / "ours", *words).json["count"] == 2


def test_import_reads_the_settings_beside_it(hrm_rl, tmp_path, reference) -> None:
    pytest.importorskip("yaml")
    checkpoint, model = reference
    arch = {k: getattr(model.config, k) for k in ("hidden_size", "num_heads", "H_layers")}
    arch |= {"L_layers": 1, "halt_max_steps": 5, "name": "hrm.hrm_act_v1@HRM", "H_cycles": 3}
    arch |= {"mlp_t": "false"}  # in the HRM beside the public TRM
    lines = "".join(f"  {key}: {value}\n" for key, value in arch.items())
    (checkpoint.parent / "all_config.yaml").write_text(f"arch:\n{lines}lr: 1e-4\n")
    hrm_rl("import-reference", checkpoint, "--out", tmp_path / "ours")
    config = HRM.from_pretrained(tmp_path / "ours").config
    assert (config.halt_max_steps, config.H_cycles, config.puzzle_emb_ndim) == (5, 3, 128)


@pytest.mark.parametrize("layout", ["trm", "eqr"])
def test_trm_and_eqr_are_imported_traced_compared_and_solve(hrm_rl, tmp_path, config_of, layout) -> None:
    """TRM's mixer with a puzzle embedding, by the settings beside it; EqR's attention, by its own, with the
    average of its weights."""
    pytest.importorskip("yaml")
    sizes = {"hidden_size": 32, "num_heads": 8, "H_layers": 1, "L_layers": 1, "pos_encodings": "none"}
    mixer = {"mixer": "mlp", "puzzle_emb_ndim": 20, "puzzle_emb_len": 2, "H_cycles": 1, "L_cycles": 2}
    config = config_of(4, **sizes, **(mixer if layout == "trm" else {}), architecture="trm")
    state = {f"_orig_mod.model.inner.{name}": t for name, t in TRM(config).state_dict().items()}
    averaged: dict = {"ema": {"mu": 0.9, "shadow": {"model.inner.lm_head.weight": torch.ones(6, 32)}}}
    if layout == "trm":
        arch = sizes | {"H_cycles": 1, "L_cycles": 2, "halt_max_steps": 3, "H_layers": 0, "mlp_t": True}
        arch |= {"puzzle_emb_len": 2, "no_ACT_continue": True, "loss": {"name": "losses"}}
        (tmp_path / "all_config.yaml").write_text(f"arch: {arch}\n".replace("True", "true"))
    else:
        state = {name: tensor for name, tensor in state.items() if "_init" not in name}
        arch = sizes | {"H_cycles": 3, "L_cycles": 4, "H_layers": 0, "lambda_": 0.9, "noise_scale": 0.01}
        averaged |= {"config": {"arch": arch | {"pos_encodings": None}}, "numpy": np.random.get_state()}
    torch.save({"model": state} | averaged, tmp_path / "step_5")
    out, bank = tmp_path / "ours", tmp_path / "bank.safetensors"
    found = hrm_rl("import-reference", tmp_path, "--out", out, "--seq-len", 16, "--json").json["config"]
    wanted = ("mlp", 1, 1.0, 2) if layout == "trm" else ("attention", 3, 0.9, 0)
    kept = ("mixer", "H_cycles", "relaxation", "puzzle_emb_len")
    assert tuple(found[name] for name in kept) == wanted
    assert (from_pretrained(out).lm_head.weight == 1).all()
    cpu = ("--dtype", "float32", "--max-segments", 2)
    hrm_rl("trace", out, "--out", bank, "--puzzles", 6, *cpu)
    words = ("--policies", "q", "fixed:2", "--out", tmp_path / "compared", "--json")
    assert len(hrm_rl("compare", bank, *words).json["policies"]) >= 2
    assert hrm_rl("solve", out, "123434122143432.", *cpu).code == 0


def test_an_unknown_layout_says_what_was_looked_for(hrm_rl, tmp_path, config_of) -> None:
    lacking = ("embed_tokens.embedding_weight", "L_level.layers.*", "it has layers.0.weight")
    state = TRM(config_of(4, architecture="trm", hidden_size=32)).state_dict()
    single = {f"model.{name}": tensor for name, tensor in state.items() if name != "H_init"}
    for tensors, words in (
        ({"model.layers.0.weight": torch.zeros(2, 2)}, lacking),
        (single, ("TRM has H_init and L_init, EqR neither", "it has L_init")),
    ):
        torch.save(tensors, tmp_path / "step_1")
        said = hrm_rl("import-reference", tmp_path / "step_1", "--out", tmp_path / "ours").refusal
        assert [word for word in ("step_1", "unknown layout", *words) if word not in said] == []


def test_export_writes_a_program_and_what_it_needs(hrm_rl, made, tmp_path) -> None:
    said = hrm_rl("export", made / "run", "--format", "torch", "--out", tmp_path / "out", "--json").json
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"segment.pt2", "manifest.json"}
    assert said == json.loads((tmp_path / "out" / "manifest.json").read_text())
    facts = {"format": "torch", "step": 2, "rule": "q", "max_segments": 3}
    assert said | facts == said and said["puzzles"] == {"family": "sudoku", "size": 4, "extra_givens": [4, 8]}


# --- quickstart -----------------------------------------------------------------------------------


def test_quickstart_trains_compares_and_draws(hrm_rl, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "quickstart"
    words = ("--max-steps", 2, "--puzzles", 20, "--device", "cpu")
    found = hrm_rl("quickstart", "--out", out, *words, "--json").json
    assert (out / "compare" / "compare.json").is_file()
    figure = out / "compare" / "accuracy_compute.png"
    assert found["figure"] == str(figure) and figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert found["training"]["steps"] == 2
    assert len(found["accuracy_by_segment"]) == 6  # twice the limit
    assert {"q", "fixed:1", "fixed:3", "fixed:6"} <= found["rules"].keys()
    assert found["rules"]["fixed:3"]["exact_accuracy"] == found["accuracy_by_segment"][2]
    assert found["rules"]["q"]["mean_segments"] <= 3

    again = hrm_rl("quickstart", "--out", out, *words)
    assert again.code == 0 and "Q-halting" in again.out and f"hrm-rl solve {out}" in again.out
    puzzle = again.out.split(f"hrm-rl solve {out} ")[1].split()[0]
    assert hrm_rl("solve", out, puzzle, "--json").json["puzzle"] == puzzle


def test_quickstart_leaves_other_runs_alone(hrm_rl, made, tmp_path) -> None:
    """Also one of the preset that it trains."""
    shutil.copytree(made / "run", tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    file.write_text(file.read_text().replace('"tiny"', '"sudoku-4x4"'))
    said = hrm_rl("quickstart", "--out", tmp_path / "run", "--max-steps", 1)
    assert "holds a run" in said.refusal
    assert RunFolder(tmp_path / "run").load_model()[1] == 2


def test_a_clock_that_stands_still_ends_nothing(hrm_rl, made, tmp_path, monkeypatch) -> None:
    for clock in ("perf_counter", "monotonic", "time", "thread_time", "process_time"):
        monkeypatch.setattr(f"time.{clock}", lambda: 5.0)
    bank, few = tmp_path / "bank.safetensors", ("--puzzles", 8)
    said = hrm_rl("train", "tiny", "--out", tmp_path / "run", "--json")
    assert said.json["seconds"] == said.json["puzzles_per_second"] == 0
    assert hrm_rl("eval", made / "run", *few, "--json").json["puzzles_per_second"] == 0
    assert hrm_rl("trace", made / "run", "--out", bank, *few, "--json").json["seconds_per_segment"] == {}
    assert hrm_rl("compare", bank, "--out", tmp_path / "compared").code == 0
    assert "clock" in hrm_rl("eval", made / "run", *few, "--speedup").refusal


def test_help_names_every_command(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)
