import pytest
import torch

from hrm_rl.model import HRM, HRMConfig


def test_defaults_are_the_reference_ones() -> None:
    config = HRMConfig(vocab_size=11, seq_len=81)
    assert config.to_dict() == {
        "vocab_size": 11,
        "seq_len": 81,
        "architecture": "hrm",
        "num_puzzle_identifiers": 1,
        "puzzle_emb_ndim": 512,
        "puzzle_emb_len": 0,
        "H_cycles": 2,
        "L_cycles": 2,
        "H_layers": 4,
        "L_layers": 4,
        "hidden_size": 512,
        "num_heads": 8,
        "expansion": 4.0,
        "mixer": "attention",
        "mixer_width": None,
        "pos_encodings": "rope",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "relation_bias": False,
        "halt_max_steps": 16,
        "halt_exploration_prob": 0.1,
        "forward_dtype": "bfloat16",
        "norm_gated": False,
        "relaxation": 1.0,
    }


def test_sudoku_model_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = HRM(HRMConfig(vocab_size=11, seq_len=81))
    assert model.num_parameters() == 27_275_266
    assert sum(p.numel() for p in model.parameters()) == 27_275_266 + 512


@pytest.mark.parametrize(
    ("hidden", "expansion", "width"), [(512, 4.0, 1536), (16, 4.0, 256), (128, 4.0, 512)]
)
def test_swiglu_width_goes_up_to_a_multiple_of_256(config, hidden, expansion, width) -> None:
    assert config(hidden_size=hidden, expansion=expansion).swiglu_width == width


@pytest.mark.parametrize(("width", "tokens"), [(0, 0), (1, 1), (16, 1), (17, 2), (40, 3)])
def test_prefix_is_the_embedding_in_tokens_rounded_up(config, width, tokens) -> None:
    assert config(puzzle_emb_ndim=width).prefix_len == tokens


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vocab_size", 0),
        ("seq_len", -1),
        ("num_puzzle_identifiers", 0),
        ("H_cycles", 0),
        ("L_cycles", 1.5),
        ("H_layers", True),
        ("L_layers", "4"),
        ("hidden_size", 0),
        ("num_heads", 3),
        ("halt_max_steps", 0),
        ("halt_max_steps", 5000),
        ("seq_len", 1 << 17),
        ("puzzle_emb_ndim", -1),
        ("expansion", 0.0),
        ("expansion", float("nan")),
        ("rms_norm_eps", 0.0),
        ("rope_theta", -1.0),
        ("pos_encodings", "sinus"),
        ("halt_exploration_prob", 1.5),
        ("forward_dtype", "int8"),
        ("norm_gated", 1),
        ("relaxation", 0.0),
        ("relaxation", 0.5),  # of an hrm
    ],
)
def test_bad_value_is_refused_by_name(config, field, value) -> None:
    with pytest.raises(ValueError, match=field) as error:
        config(**{field: value})
    assert str(value) in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_heads": 3}, "hidden_size=16 is not divisible by num_heads=3"),
        ({"hidden_size": 6}, r"rope needs a head size divisible by 2.*num_heads = 3"),
        ({"pos_encodings": "rope-2d"}, r"rope-2d needs a square board, got seq_len=5"),
        (
            {"pos_encodings": "rope-2d", "seq_len": 9, "hidden_size": 8, "num_heads": 4},
            r"divisible by 4.*num_heads = 2",
        ),
        ({"H_cycles": 128, "L_cycles": 128}, "H_cycles=128, L_cycles=128, .* at most 16,384"),
        ({"vocab_size": 1 << 20, "seq_len": 1 << 16}, "seq_len=65536, .*68,719,476,736 logits"),
        ({"hidden_size": 1 << 20, "seq_len": 1 << 15}, "rotary angles; at most 16,777,216"),
        ({"expansion": 1e-300}, "expansion=1e-300 leaves no inner width of hidden_size=16"),
        ({"hiden_size": 16}, "'hiden_size'; did you mean 'hidden_size'"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(config, settings, words) -> None:
    with pytest.raises(ValueError, match=words):
        HRMConfig.from_dict(config().to_dict() | settings)


def test_learned_positions_allow_an_odd_head(config) -> None:
    assert config(hidden_size=6, pos_encodings="learned").head_dim == 3


def test_from_dict_is_the_inverse_of_to_dict(config) -> None:
    built = config(puzzle_emb_ndim=20, pos_encodings="learned")
    assert HRMConfig.from_dict(built.to_dict()) == built


def test_from_dict_reads_the_references_arch_section(config) -> None:
    extras = {"name": "hrm.hrm_act_v1@HRM", "loss": {"name": "x"}, "batch_size": 8, "causal": False}
    assert HRMConfig.from_dict({**config().to_dict(), **extras}) == config()
