import json
import pickle
import sys
import types

import pytest
import torch
from safetensors.torch import load_file, save_file

from hrm_rl.model import HRM


@pytest.fixture
def folder(build, tmp_path):
    model = build(puzzle_emb_ndim=20, forward_dtype="bfloat16")
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def reference_state(model, prefix="_orig_mod.model.inner."):
    """A state dict as the reference saves it, with its scratch tensors."""
    state = {prefix + name: t.clone() for name, t in model.state_dict().items()}
    scratch = {
        "puzzle_emb.local_weights": torch.zeros(8, 20),
        "puzzle_emb.local_ids": torch.zeros(8),
    }
    return state | {prefix + name: t for name, t in scratch.items()}


# --- our folders ----------------------------------------------------------------------------------


def test_round_trip_keeps_config_weights_and_outputs(build, batch, folder) -> None:
    model = build(puzzle_emb_ndim=20, forward_dtype="bfloat16")
    loaded = HRM.from_pretrained(folder)
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
        assert loaded.state_dict()[name].dtype == tensor.dtype, name
    a, b = (m(m.initial_carry(3), *batch) for m in (model, loaded))
    assert torch.equal(a.logits, b.logits) and torch.equal(a.q_halt, b.q_halt)


def test_it_computes_in_the_dtype_asked_for(folder, batch) -> None:
    loaded = HRM.from_pretrained(folder, forward_dtype="float32")
    assert loaded.config.forward_dtype == "float32" and loaded.H_init.dtype == torch.float32
    assert loaded(loaded.initial_carry(3), *batch).logits.dtype == torch.float32
    assert HRM.from_pretrained(folder).H_init.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"forward_dtype.*'int8'"):
        HRM.from_pretrained(folder, forward_dtype="int8")


def test_folder_holds_two_files_and_no_pickle(folder) -> None:
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 16
    assert "H_init" in load_file(folder / "model.safetensors")


def test_saving_again_replaces(folder, build) -> None:
    other = build(puzzle_emb_ndim=0)
    other.save_pretrained(str(folder))
    assert HRM.from_pretrained(str(folder)).config == other.config


def test_two_loads_share_no_weights(folder) -> None:
    a, b = HRM.from_pretrained(folder), HRM.from_pretrained(folder)
    with torch.no_grad():
        a.q_head.bias.add_(1)
    assert not torch.equal(a.q_head.bias, b.q_head.bias)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file_is_named(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing") as error:
        HRM.from_pretrained(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("keep", [0, 4, 200, 5000])
def test_truncated_weights_are_damaged(folder, keep) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model.safetensors is damaged"):
        HRM.from_pretrained(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"vocab_size": 6}', "\xff\xfe"])
def test_damaged_config_is_named(folder, text) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"config.json is not a model configuration"):
        HRM.from_pretrained(folder)


def edit(folder, **changes) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_bad_setting_in_a_config_is_named(folder) -> None:
    edit(folder, num_heads=3)
    with pytest.raises(ValueError, match="hidden_size=16 is not divisible by num_heads=3"):
        HRM.from_pretrained(folder)


def test_unknown_setting_in_a_config_is_named(folder) -> None:
    edit(folder, halt_max_step=3)
    with pytest.raises(ValueError, match="'halt_max_step'; did you mean 'halt_max_steps'"):
        HRM.from_pretrained(folder)


def test_config_and_weights_of_two_models_are_told_apart(folder) -> None:
    edit(folder, vocab_size=7, num_puzzle_identifiers=4, puzzle_emb_ndim=21, L_layers=3)
    with pytest.raises(ValueError, match="does not fit") as error:
        HRM.from_pretrained(folder)
    assert "L_level.layers.2.self_attn.qkv_proj.weight is missing" in str(error.value)
    assert "(and 4 more)" in str(error.value)
    edit(folder, num_puzzle_identifiers=3, puzzle_emb_ndim=20, L_layers=2)
    with pytest.raises(ValueError, match="does not fit") as error:
        HRM.from_pretrained(folder)
    assert "embed_tokens.embedding_weight has shape (6, 16), the architecture (7, 16)" in str(
        error.value
    )


def test_missing_tensor_is_named(folder) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head.weight is missing"):
        HRM.from_pretrained(folder)


# --- the Hub --------------------------------------------------------------------------------------


def test_hub_id_without_huggingface_hub_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        FileNotFoundError, match=r"no folder someone/model.*install huggingface_hub"
    ):
        HRM.from_pretrained("someone/model")


def test_hub_id_is_downloaded(monkeypatch, folder, build) -> None:
    asked = []

    def snapshot_download(source, allow_patterns):
        asked.append((source, sorted(allow_patterns)))
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert HRM.from_pretrained("someone/model").config.puzzle_emb_ndim == 20
    assert asked == [("someone/model", ["config.json", "model.safetensors"])]


def test_hub_failure_is_reported(monkeypatch) -> None:
    def snapshot_download(source, allow_patterns):
        raise OSError("401 not found")

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(FileNotFoundError, match=r"someone/model.*401 not found"):
        HRM.from_pretrained("someone/model")


@pytest.mark.parametrize("source", ["nowhere", "./no/where", "/no/where", "a/b/c"])
def test_paths_never_reach_the_hub(monkeypatch, source) -> None:
    def snapshot_download(*args, **kwargs):
        raise AssertionError("the Hub was asked")

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(FileNotFoundError, match=f"no model folder at {source}"):
        HRM.from_pretrained(source)


# --- the reference's checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["_orig_mod.model.inner.", "module.model.inner.", "inner.", ""])
def test_reference_names_are_understood(build, prefix) -> None:
    model = build(puzzle_emb_ndim=20)
    loaded = HRM.from_reference(reference_state(model, prefix), model.config, seq_len=5)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_reference_file_is_read(build, tmp_path) -> None:
    model = build(puzzle_emb_ndim=20)
    torch.save(reference_state(model), tmp_path / "step_1")
    loaded = HRM.from_reference(tmp_path / "step_1", model.config, seq_len=5)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


def test_vocabulary_and_identifiers_are_read_off_the_tensors(build) -> None:
    model = build(puzzle_emb_ndim=20, vocab_size=9, num_puzzle_identifiers=7)
    arch = {"hidden_size": 16, "num_heads": 2, "H_layers": 1, "L_layers": 2, "name": "x"}
    config = HRM.from_reference(reference_state(model), arch, seq_len=5).config
    assert (config.vocab_size, config.seq_len) == (9, 5)
    assert (config.num_puzzle_identifiers, config.puzzle_emb_ndim) == (7, 20)


def test_model_without_a_puzzle_embedding_is_recognised(build) -> None:
    model = build(puzzle_emb_ndim=0)
    state = {f"inner.{k}": t for k, t in model.state_dict().items()}
    assert HRM.from_reference(state, model.config, 5).config.puzzle_emb_ndim == 0


def test_misfits_are_named(build) -> None:
    model = build(pos_encodings="learned")
    state = reference_state(model)
    with pytest.raises(ValueError, match=r"embed_pos.embedding_weight has shape \(6, 16\)"):
        HRM.from_reference(state, model.config, seq_len=6)
    arch = model.config.to_dict()
    with pytest.raises(ValueError, match=r"H_level.layers.1.\S+ is missing"):
        HRM.from_reference(state, arch | {"H_layers": 2}, seq_len=5)
    with pytest.raises(ValueError, match=r"L_level.layers.1.\S+ has no place"):
        HRM.from_reference(state, arch | {"L_layers": 1}, seq_len=5)


def test_something_else_is_no_checkpoint(tmp_path) -> None:
    with pytest.raises(ValueError, match="not an HRM checkpoint"):
        HRM.from_reference({"fc.weight": torch.zeros(2)}, {}, 5)
    with pytest.raises(FileNotFoundError, match=f"no checkpoint at {tmp_path}"):
        HRM.from_reference(tmp_path / "none", {}, 5)
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="text is not a PyTorch state dict"):
        HRM.from_reference(tmp_path / "text", {}, 5)
    torch.save({"epoch": 3, "embed_tokens.embedding_weight": torch.zeros(1)}, tmp_path / "more")
    with pytest.raises(ValueError, match="more is not a PyTorch state dict: it holds more"):
        HRM.from_reference(tmp_path / "more", {}, 5)


class Malicious:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("write", ["torch", "pickle"])
def test_code_in_a_checkpoint_is_not_run(tmp_path, write) -> None:
    trap, file = tmp_path / "trap", tmp_path / "step_1"
    if write == "torch":
        torch.save({"a": Malicious(str(trap))}, file)
    else:
        file.write_bytes(pickle.dumps({"a": Malicious(str(trap))}))
    with pytest.raises(ValueError, match="step_1 is not a PyTorch state dict") as error:
        HRM.from_reference(file, {}, 5)
    assert not trap.exists()
    assert "weights_only" not in str(error.value)  # no advice to run it after all
