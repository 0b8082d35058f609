"""Every architecture: files, compiled blocks, training, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

import hrm_rl
from hrm_rl.agents import LearnerConfig
from hrm_rl.model import ARCHITECTURES, HRM, TRM, HRMConfig, PuzzleModel, make_model
from hrm_rl.model.files.fingerprint import model_hash
from hrm_rl.training.loop import Trainer
from hrm_rl.training.machine.compute import Compute
from hrm_rl.training.open_run import open_trained
from hrm_rl.training.run_folder import RunFolder

KINDS = {
    "hrm": {},
    "trm": {"relation_bias": True, "pos_encodings": "rope-2d"},
    "trm mixer": {"mixer": "mlp", "pos_encodings": "none", "puzzle_emb_len": 2},
    "recurrent": {"relation_bias": True, "pos_encodings": "learned", "puzzle_emb_ndim": 20},
    "direct": {"pos_encodings": "rope-2d", "halt_max_steps": 1},
}
RELATIONS = np.eye(9, dtype=np.int32) + np.eye(9, k=1, dtype=np.int32) * 2


@pytest.fixture
def made(config):
    def made(kind: str) -> PuzzleModel:
        torch.manual_seed(0)
        architecture, related = kind.partition(" ")[0], "relation_bias" in KINDS[kind]
        settings = config(seq_len=9, architecture=architecture, **KINDS[kind])
        model = make_model(settings, RELATIONS if related else None)
        for parameter in (model.q_head.weight, *([model.puzzle_emb.weights] if model.puzzle_emb else [])):
            torch.nn.init.normal_(parameter)
        return model

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_compiled_blocks_give_the_same_model(made, kind, tmp_path) -> None:
    model, batch = made(kind), (torch.arange(27).view(3, 9) % 6, torch.tensor([0, 2, 2]))
    wanted = model(model.initial_carry(3), *batch)
    model.save_pretrained(tmp_path)
    loaded = hrm_rl.from_pretrained(tmp_path)
    assert type(loaded) is type(model) is ARCHITECTURES[kind.partition(" ")[0]]
    assert model_hash(loaded) == model_hash(model)
    loaded.compile_blocks(backend="eager")
    with torch.no_grad():
        found = loaded(loaded.initial_carry(3), *batch)
    for a, b in ((found.logits, wanted.logits), (found.q_halt, wanted.q_halt), (found.carry, wanted.carry)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    if not isinstance(model, HRM):
        words = rf"has architecture '\w+': {type(model).__name__}.from_pretrained opens it, hrm_rl.from_pre"
        with pytest.raises(ValueError, match=words):
            HRM.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", [*KINDS, "unnamed"])
def test_next_q_values_are_those_of_a_segment(made, kind, monkeypatch) -> None:
    """The last block computes one position alone, if the model names the stack it is in."""
    model, batch = (
        made("hrm" if kind == "unnamed" else kind),
        (torch.arange(27).view(3, 9) % 6, torch.tensor([0, 2, 2])),
    )
    if kind == "unnamed":
        monkeypatch.setattr(type(model), "answering", "")
    carry = model(model.initial_carry(3), *batch).carry
    whole, read, plain = model(carry, *batch), [], model._block

    def block(*arguments, **options) -> torch.Tensor:
        read.append(options.get("read"))
        return plain(*arguments, **options)

    model._block = block
    found = model.next_q_values(carry, *batch)
    torch.testing.assert_close(found, (whole.q_halt, whole.q_continue), rtol=1e-3, atol=1e-4)
    assert not found[0].requires_grad and len(read) == model.config.segment_blocks
    assert read[-1] == (None if kind == "unnamed" else 1) and not any(read[:-1])


@pytest.mark.parametrize("kind", ["hrm", "trm"])
def test_a_whole_model_compiles(made, kind) -> None:
    model, batch = made(kind), (torch.arange(27).view(3, 9) % 6, torch.tensor([0, 2, 2]))
    whole = torch.compile(model, backend="eager")
    wanted, found = (m(model.initial_carry(3), *batch, gradient="last-cycle") for m in (model, whole))
    torch.testing.assert_close(found.logits, wanted.logits)


def test_parameters_of_the_baselines() -> None:
    """Direct has as many as HRM; TRM and recurrent, with one network of two, as many as each other."""
    count = {}
    for name in ("hrm", "trm", "recurrent", "direct"):
        with torch.device("meta"):
            config = HRMConfig(11, 81, architecture=name, halt_max_steps=1)
            count[name] = make_model(config).num_parameters()
    assert count["direct"] == count["hrm"] and count["trm"] == count["recurrent"] < 0.51 * count["hrm"]
    public = HRMConfig(11, 81, architecture="trm", mixer="mlp", L_layers=2, puzzle_emb_len=16)
    with torch.device("meta"):
        assert TRM(public).num_parameters() == 5_028_866  # "5M"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hrm"])
def test_a_run_learns_resumes_and_is_opened_by_its_names(preset, kind, tmp_path) -> None:
    architecture, _, mixer = kind.partition(" ")
    limit = 1 if architecture == "direct" else 3
    changes = {"architecture": architecture, "halt_max_steps": limit}
    changes |= {"mixer": "mlp", "mixer_width": 8} if mixer else {}
    learner = LearnerConfig(
        optimizer="adamw", lr=1e-3, warmup_steps=3, gradient="last-cycle", q_target="none"
    )

    def trainer(folder: str, steps: int, resume: bool = False) -> Trainer:
        model = dataclasses.replace(preset().model, **changes)
        settings, run = preset(model=model, learner=learner, max_steps=steps), RunFolder(tmp_path / folder)
        made = Trainer(settings, Compute(), run)
        made.restore() if resume else run.create(settings, Compute())
        made.train(progress=False)
        return made

    whole = trainer("whole", 6)
    trainer("parts", 3)
    resumed = trainer("parts", 6, resume=True)
    for a, b in zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for name in ("whole", "whole@3", "whole@best"):
        opened = open_trained(tmp_path / name).model
        assert type(opened) is type(hrm_rl.from_pretrained(tmp_path / name)) is ARCHITECTURES[architecture]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "trn"}, "architecture must be one of hrm, trm, .*; got 'trn'; did you mean 'trm'"),
        ({"architecture": 3}, "architecture must be one of hrm, trm, .*; got 3"),
        ({"architecture": "direct"}, "halt_max_steps must be 1 for architecture direct, .* got 4"),
        ({"mixer": "conv"}, "mixer must be one of attention, mlp; got 'conv'"),
        ({"mixer_width": 0}, "mixer_width must be an integer >= 1, got 0"),
        ({"mixer": "mlp", "relation_bias": True}, "which mixer mlp has not; take mixer attention or leave"),
        ({"puzzle_emb_len": 2, "puzzle_emb_ndim": 0}, "puzzle_emb_len=2 tokens of width 16 .* got 0"),
        ({"puzzle_emb_len": 2, "puzzle_emb_ndim": 33}, "puzzle_emb_len=2 tokens of width 16 .* got 33"),
    ],
)
def test_settings_that_no_model_has_are_refused(config, settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        config(**settings)


def test_a_class_and_its_configuration_must_agree(config, made, tmp_path) -> None:
    with pytest.raises(
        ValueError, match="TRM does not make architecture 'hrm': HRM does, and make_model any"
    ):
        TRM(config())
    with pytest.raises(ValueError, match="config must be an HRMConfig, got dict"):
        make_model({"architecture": "trm"})
    model = made("trm mixer")
    other = dataclasses.replace(model.config, seq_len=10)
    with pytest.raises(
        ValueError, match=r"mlp_t.gate_up_proj.weight has shape \(512, 11\), the architecture"
    ):
        TRM.from_state(other, model.state_dict())


def test_the_page_about_your_own_model_runs_as_it_stands(run_page, monkeypatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "damped", None)  # its entry ends with the test
    fewer = '"max_steps": 2, "data.train_puzzles": 64, "data.validation_puzzles": 8'
    shorter = {'"max_steps": 300': fewer, '"oracle"]': '"oracle"], puzzles=16'}
    names = run_page("docs/your-own-model.md", shorter)
    model = names["model"]
    assert type(model) is names["Damped"] and model.config.segment_blocks == 6
