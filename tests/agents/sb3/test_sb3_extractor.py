"""The HRM as a features extractor by itself: its features, its gradients, pictures, and refusals."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs

from hrm_rl.agents.sb3 import HRMFeaturesExtractor, hrm_policy_kwargs

TINY: dict[str, Any] = {"hidden_size": 16, "num_heads": 2, "L_cycles": 1, "expansion": 1.0}
VECTOR = spaces.Box(-1, 1, (3,), np.float32)
VIEW = spaces.Box(0, 255, (5, 5, 3), np.uint8)
PICTURES = {
    "picture": spaces.Box(0, 255, (32, 36, 3), np.uint8),
    "parts": spaces.Dict(where=VECTOR, view=VIEW, held=spaces.Discrete(3)),
}


def extractor(space: spaces.Space[Any] = VECTOR, seed: int = 0, **options: Any) -> Any:
    torch.manual_seed(seed)
    return HRMFeaturesExtractor(space, **(TINY | options))


def seen(space: spaces.Space[Any], rows: int, normalize_images: bool = False) -> Any:
    """A batch as SB3 hands it to an extractor."""
    space.seed(0)
    return preprocess_obs(_batch([space.sample() for _ in range(rows)]), space, normalize_images)


def _batch(samples: list[Any]) -> Any:
    if isinstance(samples[0], dict):
        return {key: _batch([sample[key] for sample in samples]) for key in samples[0]}
    return torch.as_tensor(np.stack(samples))


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_deep_supervision_is_the_sum_of_losses_of_every_segment(weight: float) -> None:
    """Against a hand-written loop: backward through each segment by itself, with the same gradient."""
    ours, by_hand = (extractor(segments=3, deep_supervision=weight) for _ in range(2))
    x, upstream = torch.rand(4, 3), torch.randn(4, 16)
    features = ours(x)
    features.backward(upstream)
    summaries = []
    carry = by_hand.core.initial_carry(4, by_hand.tokenizer.num_tokens)
    for segment in range(3):
        carry, z_H = by_hand.core(carry, by_hand.tokenizer(x))
        summaries.append(z_H[:, 0])
        share = 1.0 if segment == 2 else weight
        (share * (z_H[:, 0] * upstream).sum()).backward()
    torch.testing.assert_close(features, summaries[-1])
    assert torch.equal(features, ours.eval()(x))
    assert features.shape == (4, ours.features_dim) == (4, 16)
    for (name, p), q in zip(ours.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name, rtol=1e-4, atol=1e-6)


def test_from_zero_the_features_begin_to_differ_between_observations() -> None:
    """A drawn carry and the summary's embedding are the same for all rows, and outweigh what was seen."""
    grid = spaces.Box(0, 5, (7, 7, 3), np.int64)
    x = seen(grid, 64)
    for seed in range(3):
        drawn, zero = (extractor(grid, seed, start=start, patch_size={"": 4}) for start in ("drawn", "zero"))
        assert not zero.core.H_init.any() and not zero.core.L_init.any()
        assert drawn.core.H_init.any() and drawn.core.L_init.any()
        with torch.no_grad():
            spread = [model(x).std(0).square().mean().sqrt() for model in (drawn, zero)]
        assert spread[1] > 2 * spread[0], spread
    zero(x).sum().backward()
    assert zero.tokenizer.places.weight.grad[0].any()  # the summary's own may learn


THINKING = spaces.Dict(observation=VECTOR, segment=spaces.Discrete(4))


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_row_that_thought_longer_runs_more_segments(weight: float) -> None:
    """Rows of mixed counts give what each gives alone, values and gradients."""
    together, alone = (extractor(THINKING, deep_supervision=weight) for _ in range(2))
    counts = torch.tensor([2, 0, 3, 0, 1, 3])
    # The segments are [B, 1, n], as SB3's buffers give them.
    obs = {"observation": torch.rand(6, 3), "segment": torch.eye(4)[counts][:, None]}
    upstream = torch.randn(6, 16)
    features = together(obs)
    features.backward(upstream)
    for row, count in enumerate(counts.tolist()):
        single = extractor(spaces.Dict(observation=VECTOR), segments=count + 1)
        single.load_state_dict(alone.state_dict(), strict=False)
        only = {key: value[row : row + 1] for key, value in obs.items()}
        torch.testing.assert_close(single(only)[0], features[row], rtol=1e-5, atol=1e-6)
        alone(only).backward(upstream[row : row + 1])
    for (name, p), q in zip(together.named_parameters(), alone.named_parameters(), strict=True):
        torch.testing.assert_close(p.grad, q[1].grad, msg=name, rtol=1e-4, atol=1e-6)


def test_a_thinking_policy_knows_the_count() -> None:
    """By a vector that starts at zero and learns."""
    model = extractor(THINKING)
    obs = {"observation": torch.rand(2, 3), "segment": torch.eye(4)[[1, 3]]}
    before = model(obs)
    before.sum().backward()
    assert model.counts is not None
    assert (model.counts.weight.grad != 0).any(1).tolist() == [False, True, False, True]
    with torch.no_grad():
        model.counts.weight[3] += 1
    torch.testing.assert_close(model(obs) - before, torch.tensor([[0.0] * 16, [1.0] * 16]))


@pytest.mark.parametrize("other", ["thought", "draft"])
def test_other_counters_are_observations_like_any(other: str) -> None:
    """A wrapped reasoner's and a puzzle environment's `segment` are tokens."""
    space = spaces.Dict({other: VECTOR, "segment": spaces.Discrete(4)})
    model = extractor(space)
    assert model.counts is None and model.tokenizer.num_tokens == 5
    assert model(seen(space, 3)).shape == (3, 16)


def test_policy_kwargs_are_plain() -> None:
    options = {"L_cycles": 3, "kinds": {"a": "features"}}
    assert hrm_policy_kwargs(32, 2, net_arch=(8, 8), **options) == {
        "features_extractor_class": HRMFeaturesExtractor,
        "features_extractor_kwargs": options | {"hidden_size": 32, "segments": 2, "normalize_images": False},
        "normalize_images": False,
        "net_arch": [8, 8],
    }
    assert hrm_policy_kwargs(net_arch={"pi": [8], "vf": []})["net_arch"] == {"pi": [8], "vf": []}


@pytest.mark.parametrize(
    ("name", "near"),
    [("L_cycle", "L_cycles"), ("netarch", "net_arch"), ("patch", "patch_size"), ("zebra", None)],
)
def test_a_misspelt_option_of_the_policy_is_refused_at_once(name: str, near: str | None) -> None:
    hint = f"did you mean {near!r}\\? " if near else ""
    with pytest.raises(ValueError, match=f"^unknown option {name}=2; {hint}known: ") as caught:
        hrm_policy_kwargs(**{name: 2})
    for known in ("deep_supervision", "num_heads", "patch_size", "net_arch", "segments"):
        assert known in str(caught.value).partition("known: ")[2].split(", ")
    assert "observation_space" not in str(caught.value)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_the_same_divided_or_not(name: str) -> None:
    space = PICTURES[name]
    raw, divided = seen(space, 3), seen(space, 3, normalize_images=True)
    ours, plain = extractor(space, normalize_images=False), extractor(space)
    assert torch.equal(ours(raw), plain(divided))


@pytest.mark.parametrize("divided", [True, False])
def test_pictures_divided_against_the_word_are_refused(divided: bool) -> None:
    space = PICTURES["parts"]
    model = extractor(space, normalize_images=divided)
    words = f"normalize_images={not divided}, or use hrm_policy_kwargs"
    with pytest.raises(ValueError, match=words):
        model(seen(space, 3, normalize_images=not divided))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 0}, "segments must be an integer >= 1, got 0"),
        ({"segments": 2.0}, "segments must be an integer >= 1, got 2.0"),
        ({"deep_supervision": -1}, r"deep_supervision must lie in \[0, inf\), got -1"),
        ({"deep_supervision": float("nan")}, "deep_supervision must lie in"),
        ({"start": "random"}, "start must be one of drawn, zero; got 'random'"),
        ({"hidden_size": 15}, "hidden_size=15 is not divisible by num_heads=2"),
        ({"L_cycles": 0}, "L_cycles must be"),
    ],
)
def test_bad_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractor(**options)


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="H_cycle"):
        extractor(H_cycle=2)
