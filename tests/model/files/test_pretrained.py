import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from hrm_rl.model import HRM
from hrm_rl.model.files.reference import import_reference


@pytest.fixture
def folder(build, tmp_path):
    model = build(puzzle_emb_ndim=20, forward_dtype="bfloat16")
    model.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def reference_state(model, prefix="_orig_mod.model.inner."):
    """A state dict as the reference saves it, with its scratch tensors."""
    scratch = {"local_weights": torch.zeros(8, 20), "local_ids": torch.zeros(8)}
    state = model.state_dict() | {f"puzzle_emb.{name}": t for name, t in scratch.items()}
    return {prefix + name: t.clone() for name, t in state.items()}


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


def test_it_computes_in_the_given_dtype(folder, batch) -> None:
    loaded = HRM.from_pretrained(folder, forward_dtype="float32")
    assert loaded.config.forward_dtype == "float32" and loaded.H_init.dtype == torch.float32
    assert loaded(loaded.initial_carry(3), *batch).logits.dtype == torch.float32
    assert HRM.from_pretrained(folder).H_init.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"forward_dtype.*'int8'"):
        HRM.from_pretrained(folder, forward_dtype="int8")


def test_saving_again_replaces_the_two_files(folder, build) -> None:
    other = build(puzzle_emb_ndim=0)
    other.save_pretrained(str(folder))
    assert HRM.from_pretrained(str(folder)).config == other.config
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}


def edited(**changes):
    """Change settings in config.json."""

    def edit(folder) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return edit


def written(name: str, content: bytes):
    return lambda folder: (folder / name).write_bytes(content)


def cut(keep: int):
    def damage(folder) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:keep])

    return damage


def without_a_tensor(folder) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        *(
            (written("config.json", text), "config.json is not a model configuration")
            for text in (b"", b"{", b"[]", b"3", b'{"vocab_size": 6}', b"\xff\xfe")
        ),
        *((cut(keep), "model.safetensors is damaged") for keep in (0, 4, 200, 5000)),
        (without_a_tensor, "lm_head.weight is missing"),
        (edited(H_layers=1000, L_layers=1000), "tensors are too few for 2000 layers"),
        (edited(num_heads=3), "hidden_size=16 is not divisible by num_heads=3"),
        (edited(halt_max_step=3), "'halt_max_step'; did you mean 'halt_max_steps'"),
        (
            edited(vocab_size=7, num_puzzle_identifiers=4, puzzle_emb_ndim=21, L_layers=3),
            r"does not fit.*L_level.layers.2.self_attn.qkv_proj.weight is missing.*\(and 4 more\)",
        ),
        (
            edited(vocab_size=7),
            r"embed_tokens.embedding_weight has shape \(6, 16\), the architecture \(7, 16\)",
        ),
    ],
)
def test_damage_is_named(folder, damage, words) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=words):
        HRM.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_file_is_named(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing") as error:
        HRM.from_pretrained(folder)
    assert str(folder) in str(error.value)


# --- the reference's checkpoints ------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["_orig_mod.model.inner.", "module.model.inner.", "inner.", ""])
def test_reference_names_are_understood(build, tmp_path, prefix) -> None:
    model = build(puzzle_emb_ndim=20)
    state = reference_state(model, prefix)
    torch.save(state, tmp_path / "step_1")
    for source in (state, tmp_path / "step_1"):
        loaded = HRM.from_reference(source, model.config, seq_len=5)
        for name, tensor in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


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


@pytest.mark.parametrize(
    ("changes", "seq_len", "words"),
    [
        ({}, 6, r"embed_pos.embedding_weight has shape \(6, 16\)"),
        ({"H_layers": 2}, 5, r"H_level.layers.1.\S+ is missing"),
        ({"L_layers": 1}, 5, r"L_level.layers.1.\S+ has no place"),
    ],
)
def test_misfits_are_named(build, changes, seq_len, words) -> None:
    model = build(pos_encodings="learned")
    with pytest.raises(ValueError, match=words):
        HRM.from_reference(reference_state(model), model.config.to_dict() | changes, seq_len)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arch: {1: 2}", "must be an object"),
        ("arch: [1]", "has no arch section"),
        ("arch: " + "[" * 20_000, "has no arch section"),
        ("arch: {hidden_size: " + "9" * 10_000 + "}", "has no arch section"),
        ("arch: {a: " + "x" * 100_000 + "}", "has no arch section"),
        ("arch: !!python/object/apply:os.abort []", "has no arch section"),
        ("arch: &a {hidden_size: *a}", "hidden_size must be an integer, got {'hidden_size'"),
        (
            "a0: &a0 [x, x]\n"
            + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 99))
            # Written out, it would not end.
            + "arch: {hidden_size: *a98}",
            r"hidden_size must be an integer, got \[\[\[",
        ),
    ],
)
def test_settings_beside_a_checkpoint_are_bounded(build, tmp_path, text, words) -> None:
    pytest.importorskip("yaml")
    torch.save(build().state_dict(), tmp_path / "step_1")
    (tmp_path / "all_config.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        import_reference(tmp_path / "step_1", 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_tokens.embedding_weight": torch.zeros(3)}, r"must have 2 dimensions, got \[3\]"),
        ({"puzzle_emb.weights": torch.zeros(())}, r"puzzle_emb.weights must have 2 dimensions, got \[\]"),
        ({"H_level.layers.99999999.x": torch.zeros(2)}, "H_layers must be an integer >= 1 and <= 1024"),
        ({"lm_head.weight": torch.zeros(6, 16).long()}, "lm_head.weight holds torch.int64"),
    ],
)
def test_tensors_of_other_forms_are_named(build, tmp_path, change, words) -> None:
    torch.save(build(pos_encodings="rope").state_dict() | change, tmp_path / "step_1")
    with pytest.raises(ValueError, match=words):
        HRM.from_state(*import_reference(tmp_path / "step_1", 5))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"fc.weight": torch.zeros(2)}, "not an HRM checkpoint"),
        (b"hello", "step_1 is not a PyTorch state dict"),
        ({"epoch": 3}, "step_1 is not a PyTorch state dict: it holds more"),
    ],
)
def test_files_without_a_checkpoint_are_refused(tmp_path, content, words) -> None:
    file = tmp_path / "step_1"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError, match=words):
        HRM.from_reference(file, {}, 5)
    with pytest.raises(FileNotFoundError, match=f"no checkpoint at {tmp_path}"):
        HRM.from_reference(tmp_path / "none", {}, 5)


def test_a_state_dict_inside_a_dictionary_is_read(build, tmp_path) -> None:
    model = build()
    state = reference_state(model)
    for name, content in (("a", {"model": state, "step": 3}), ("b", {"state_dict": state})):
        torch.save(content, tmp_path / name)
        found = HRM.from_reference(tmp_path / name, model.config.to_dict(), 5)
        assert torch.equal(found.lm_head.weight, model.lm_head.weight)
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "c.safetensors")
    found = HRM.from_reference(tmp_path / "c.safetensors", model.config.to_dict(), 5)
    assert torch.equal(found.lm_head.weight, model.lm_head.weight)
    torch.save({"model": state, "ema": state}, tmp_path / "two")
    with pytest.raises(ValueError, match="two is not a PyTorch state dict: it holds more"):
        HRM.from_reference(tmp_path / "two", model.config.to_dict(), 5)
    torch.save({k: t for k, t in state.items() if "H_level" not in k}, tmp_path / "one_network")
    with pytest.raises(ValueError, match=r"one_network is not an HRM checkpoint: it has no H_level.layers"):
        HRM.from_reference(tmp_path / "one_network", model.config.to_dict(), 5)


def test_folders_that_are_not_of_the_reference_are_named(build, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="has no file checkpoint or step_NUMBER"):
        import_reference(tmp_path)
    build().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a model or a run of hrm_rl: commands take it as it is"):
        import_reference(tmp_path)


class Malicious:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("write", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value))])
def test_code_in_a_checkpoint_is_not_run(tmp_path, write) -> None:
    trap, file = tmp_path / "trap", tmp_path / "step_1"
    write({"a": Malicious(str(trap))}, file)
    with pytest.raises(ValueError, match="step_1 is not a PyTorch state dict") as error:
        HRM.from_reference(file, {}, 5)
    assert not trap.exists()
    assert "weights_only" not in str(error.value)  # no advice to run it after all
