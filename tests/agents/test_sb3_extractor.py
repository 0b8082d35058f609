"""HRM inside Stable-Baselines3's policies: it learns, survives what SB3 does to it, and is read safely."""

import copy
import pickle
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor

from hrm_rl.agents.sb3 import HRMFeaturesExtractor, hrm_policy_kwargs, load_weights, read_weights
from hrm_rl.envs.thinking import ThinkingWrapper

TINY: dict[str, Any] = {"hidden_size": 16, "num_heads": 2, "L_cycles": 1, "expansion": 1.0}
VECTOR = spaces.Box(-1, 1, (3,), np.float32)


class Looks(gym.Env[Any, int]):
    """Shows a draw of any space for one step; action 0 is right."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = space, spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        return self.observation_space.sample(), float(action == 0), True, False, {}


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


def make(algo: str, env: Any = None, **options: Any) -> Any:
    """A model of a few seconds' training at most; the same policy_kwargs for all algorithms."""
    kwargs = hrm_policy_kwargs(net_arch=[16], **(TINY | options))
    settings: dict[str, Any] = {"policy_kwargs": kwargs, "seed": 0, "device": "cpu"}
    off_policy = {"learning_starts": 50, "buffer_size": 500, "batch_size": 32, "train_freq": 4}
    if algo == "PPO":
        settings |= {"n_steps": 32, "batch_size": 32, "n_epochs": 4, "learning_rate": 3e-3}
        settings |= {"gamma": 0.0, "gae_lambda": 0.0}
    elif algo == "A2C":
        settings |= {"n_steps": 16, "learning_rate": 3e-3, "gamma": 0.0}
    else:
        settings |= off_policy | {"learning_rate": 3e-3, "gamma": 0.0}
    if algo == "QRDQN":
        pytest.importorskip("sb3_contrib")
        settings["policy_kwargs"] |= {"n_quantiles": 8}
    if env is None:
        env = IdentityEnvBox(eps=0.5) if algo == "SAC" else IdentityEnv(2)
    module = "sb3_contrib" if algo == "QRDQN" else "stable_baselines3"
    policy = "MultiInputPolicy" if _is_dict(env) else "MlpPolicy"
    return getattr(import_module(module), algo)(policy, env, **settings)


def _is_dict(env: Any) -> bool:
    return isinstance(env.observation_space, spaces.Dict)


def state_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- the features ---------------------------------------------------------------------------------


def test_features_are_the_summary_after_the_last_segment() -> None:
    model = extractor(segments=3)
    x = torch.rand(4, 3)
    with torch.no_grad():
        tokens = model.tokenizer(x)
        carry = model.core.initial_carry(4, tokens.shape[1])
        for _ in range(3):
            carry, z_H = model.core(carry, tokens)
    assert torch.equal(model(x), z_H[:, 0])
    assert model(x).shape == (4, model.features_dim) == (4, 16)


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
    assert torch.equal(features, summaries[-1])
    for (name, p), q in zip(ours.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name, rtol=1e-4, atol=1e-6)


def test_deep_supervision_changes_no_value_and_earlier_segments_train_only_with_it() -> None:
    x = torch.rand(4, 3)
    plain, deep = extractor(segments=3), extractor(segments=3, deep_supervision=1.0)
    assert torch.equal(plain(x), deep(x))
    plain(x).sum().backward(), deep(x).sum().backward()
    a, b = plain.core.H_level.layers[0].mlp.down_proj, deep.core.H_level.layers[0].mlp.down_proj
    assert not torch.allclose(a.weight.grad, b.weight.grad)


THINKING = spaces.Dict({"observation": VECTOR, "segment": spaces.Discrete(4)})


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_row_that_thought_longer_runs_more_segments(weight: float) -> None:
    """Rows of mixed counts give what each gives in a batch of its own, values and gradients."""
    together, alone = (extractor(THINKING, deep_supervision=weight) for _ in range(2))
    counts = torch.tensor([2, 0, 3, 0, 1, 3])
    obs = {
        "observation": torch.rand(6, 3),
        "segment": torch.nn.functional.one_hot(counts, 4).float()[:, None],  # as SB3's buffers do
    }
    upstream = torch.randn(6, 16)
    features = together(obs)
    features.backward(upstream)
    for row, count in enumerate(counts.tolist()):
        single = extractor(spaces.Dict({"observation": VECTOR}), segments=count + 1)
        single.load_state_dict(
            {key: v for key, v in alone.state_dict().items() if key != "counts.weight"}
        )
        only = {"observation": obs["observation"][row : row + 1]}
        torch.testing.assert_close(single(only)[0], features[row], rtol=1e-5, atol=1e-6)
        alone({key: value[row : row + 1] for key, value in obs.items()}).backward(
            upstream[row : row + 1]
        )
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


@pytest.mark.parametrize("algo", ["PPO", "DQN"])
def test_a_policy_in_a_thinking_wrapper_thinks(algo: str) -> None:
    """From a rollout buffer and from a replay buffer, which store the count differently."""
    model = make(algo, ThinkingWrapper(gym.make("CartPole-v1"), max_segments=3))
    features = {"PPO": model.policy, "DQN": getattr(model.policy, "q_net", None)}[algo]
    counts = features.features_extractor.counts
    assert counts.weight.shape == (4, 16) and not counts.weight.any()
    model.learn(64)
    assert counts.weight.any()


@pytest.mark.parametrize("other", ["thought", "draft"])
def test_other_counters_are_observations_like_any(other: str) -> None:
    """A wrapped reasoner's and a puzzle environment's `segment` are tokens."""
    space = spaces.Dict({other: VECTOR, "segment": spaces.Discrete(4)})
    model = extractor(space)
    assert model.counts is None and model.tokenizer.num_tokens == 5
    assert model(seen(space, 3)).shape == (3, 16)


# --- what SB3 does to it --------------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_orthogonal_initialisation_passes_by(shared: bool) -> None:
    """Also for whoever names nothing but the class; the heads are initialised as ever."""
    model = PPO(
        "MlpPolicy",
        "CartPole-v1",
        seed=0,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": HRMFeaturesExtractor,
            "share_features_extractor": shared,
        },
    )
    policy: Any = model.policy
    assert policy.ortho_init and policy.action_net.weight.std() < 0.02
    for part in {policy.pi_features_extractor, policy.vf_features_extractor}:
        matrices = [m.weight for m in part.core.modules() if isinstance(m, torch.nn.Linear)]
        assert len(matrices) == 8
        for weight in matrices:  # 1 / sqrt(fan in); orthogonal rows of gain sqrt(2) would be wider
            expected = weight.shape[1] ** -0.5
            assert weight.std().item() == pytest.approx(expected, rel=0.08)
            assert weight.abs().max() <= 2 * expected / 0.8796 + 1e-6


def test_policy_construction_leaves_the_weights_alone() -> None:
    made: list[HRMFeaturesExtractor] = []

    class Watched(HRMFeaturesExtractor):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.first = state_of(self)
            made.append(self)

    kwargs = hrm_policy_kwargs(**TINY) | {"features_extractor_class": Watched}
    PPO("MlpPolicy", IdentityEnv(3), device="cpu", policy_kwargs=kwargs)
    assert len(made) == 1 and same(made[0].first, state_of(made[0]))
    # Other functions are applied as to any module.
    made[0].apply(lambda m: m.weight.data.zero_() if isinstance(m, torch.nn.Linear) else None)
    assert not same(made[0].first, state_of(made[0]))


@pytest.mark.parametrize("algo", ["PPO", "A2C", "DQN", "QRDQN", "SAC"])
def test_every_algorithm_learns_through_it(algo: str) -> None:
    """A few updates change every tensor of the HRM, and nothing that is no parameter."""
    model = make(algo)
    policy = model.policy
    network = {
        "DQN": lambda: policy.q_net,
        "QRDQN": lambda: policy.quantile_net,
        "SAC": lambda: policy.critic,
    }.get(algo, lambda: policy)()
    before = state_of(network.features_extractor)
    model.learn(80)
    after = state_of(network.features_extractor)
    parameters = {name for name, _ in network.features_extractor.named_parameters()}
    assert before.keys() > parameters
    for name in before:
        changed = not torch.equal(before[name], after[name])
        assert changed == (name in parameters), name


@pytest.mark.parametrize(
    ("algo", "steps"), [("DQN", 500), pytest.param("PPO", 1500, marks=pytest.mark.slow)]
)
def test_it_learns_what_to_do(algo: str, steps: int) -> None:
    """The identity of four observations: chance gets 25 of 100."""
    model = make(algo, IdentityEnv(4)).learn(steps)
    reward, _ = evaluate_policy(model, IdentityEnv(4), 5, warn=False)
    assert reward >= 95


@pytest.mark.parametrize("algo", ["PPO", "A2C", "DQN", "QRDQN", "SAC"])
def test_saved_and_loaded_it_predicts_the_same(algo: str, tmp_path: Path) -> None:
    model = make(algo, segments=2, deep_supervision=0.5).learn(64)
    env, obs = model.get_env(), model.get_env().reset()
    model.save(tmp_path / "model")
    expected, _ = model.predict(obs, deterministic=True)
    loaded = type(model).load(tmp_path / "model", env=env, device="cpu")
    assert same(state_of(loaded.policy), state_of(model.policy))
    assert np.array_equal(loaded.predict(obs, deterministic=True)[0], expected)
    loaded.learn(8)  # training goes on
    # Into a model made anew: by SB3's own function, and by ours.
    for load in (lambda m, path: m.set_parameters(path), load_weights):
        fresh = make(algo, segments=2, deep_supervision=0.5)
        fresh.policy.load_state_dict(  # other weights than the same seed's
            {
                key: v + 1 if v.is_floating_point() else v
                for key, v in state_of(fresh.policy).items()
            }
        )
        load(fresh, str(tmp_path / "model"))
        assert same(state_of(fresh.policy), state_of(model.policy))
        assert np.array_equal(fresh.predict(obs, deterministic=True)[0], expected)


@pytest.mark.parametrize(("algo", "net"), [("DQN", "q_net"), ("QRDQN", "quantile_net")])
def test_target_networks_follow(algo: str, net: str) -> None:
    """A target begins as a copy, constants included, and moves by tau a step towards the other."""
    model = make(algo)
    online, target = getattr(model.policy, net), getattr(model.policy, f"{net}_target")
    assert online.features_extractor is not target.features_extractor
    assert same(state_of(online), state_of(target))
    model.learn(4)  # too few for an update
    model.tau, model.target_update_interval = 0.25, 1
    with torch.no_grad():
        for p in online.parameters():
            p += 1
    before = dict(target.named_parameters())
    expected = {k: 0.75 * v + 0.25 * online.get_parameter(k) for k, v in before.items()}
    expected = {key: value.detach().clone() for key, value in expected.items()}
    model._on_step()
    for key, value in target.named_parameters():
        torch.testing.assert_close(value.detach(), expected[key], msg=key)
    assert torch.equal(target.features_extractor.core.H_init, online.features_extractor.core.H_init)


def test_training_and_evaluation_mode_are_the_same() -> None:
    model = make("PPO")
    obs = model.policy.obs_to_tensor(model.get_env().reset())[0]
    values = []
    for mode in (True, False):
        model.policy.set_training_mode(mode)
        values.append(model.policy.predict_values(obs))
    assert torch.equal(*values)


def test_copies_and_policies_by_themselves(tmp_path: Path) -> None:
    """deepcopy, policy.save and policy.load, which pickle the modules."""
    model = make("DQN")
    obs = model.get_env().reset()
    expected = model.predict(obs, deterministic=True)[0]
    model.policy.save(tmp_path / "policy")
    for policy in (copy.deepcopy(model.policy), type(model.policy).load(tmp_path / "policy")):
        assert np.array_equal(policy.predict(obs, deterministic=True)[0], expected)


def test_policy_kwargs_are_plain() -> None:
    kwargs = hrm_policy_kwargs(32, 2, net_arch=(8, 8), L_cycles=3, kinds={"a": "features"})
    assert kwargs.pop("features_extractor_class") is HRMFeaturesExtractor
    assert kwargs == {
        "features_extractor_kwargs": {
            "hidden_size": 32,
            "segments": 2,
            "normalize_images": False,
            "L_cycles": 3,
            "kinds": {"a": "features"},
        },
        "normalize_images": False,
        "net_arch": [8, 8],
    }
    assert hrm_policy_kwargs(net_arch={"pi": [8], "vf": []})["net_arch"] == {"pi": [8], "vf": []}


# --- observations ---------------------------------------------------------------------------------

SPACES = {
    "vector": VECTOR,
    "number": spaces.Discrete(5),
    "numbers": spaces.MultiDiscrete([3, 4]),
    "bits": spaces.MultiBinary(4),
    "board": spaces.Box(0, 6, (4, 4), np.int64),
    "picture": spaces.Box(0, 255, (32, 36, 3), np.uint8),
    "parts": spaces.Dict(
        {
            "where": VECTOR,
            "view": spaces.Box(0, 255, (5, 5, 3), np.uint8),
            "held": spaces.Discrete(3),
        }
    ),
    "thinking": THINKING,
}


@pytest.mark.parametrize("name", SPACES)
def test_any_space_that_sb3_takes(name: str) -> None:
    model = make("PPO", Looks(SPACES[name]))
    model.learn(32)
    model.predict(model.get_env().reset())


@pytest.mark.parametrize("name", ["picture", "parts"])
def test_pictures_are_the_same_divided_or_not(name: str) -> None:
    space = SPACES[name]
    raw, divided = seen(space, 3), seen(space, 3, normalize_images=True)
    ours, plain = extractor(space, normalize_images=False), extractor(space)
    assert torch.equal(ours(raw), plain(divided))


@pytest.mark.parametrize("divided", [True, False])
def test_pictures_divided_against_the_word_are_refused(divided: bool) -> None:
    space = SPACES["parts"]
    model = extractor(space, normalize_images=divided)
    with pytest.raises(
        ValueError, match=f"normalize_images={not divided}, or use hrm_policy_kwargs"
    ):
        model(seen(space, 3, normalize_images=not divided))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 0}, "segments must be an integer >= 1, got 0"),
        ({"segments": 2.0}, "segments must be an integer >= 1, got 2.0"),
        ({"deep_supervision": -1}, "deep_supervision must be a number >= 0, got -1"),
        ({"deep_supervision": float("nan")}, "deep_supervision must be a number >= 0"),
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


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [load_weights, lambda model, path: model.set_parameters(path)])
def test_weights_for_other_observations_are_refused(load: Any, tmp_path: Path) -> None:
    make("PPO", Looks(spaces.Dict(a=VECTOR, b=spaces.Discrete(3)))).save(tmp_path / "theirs.zip")
    model = make("PPO", Looks(spaces.Dict(a=VECTOR, b=spaces.Discrete(4))))
    with pytest.raises(ValueError, match=r"'b'.*") as caught:
        load(model, str(tmp_path / "theirs.zip"))
    assert "tokenizer" in str(caught.value) and "'a'" not in str(caught.value)


def test_a_refused_file_changes_nothing(tmp_path: Path) -> None:
    make("PPO", L_layers=2).save(tmp_path / "deeper.zip")
    make("PPO", IdentityEnv(5)).save(tmp_path / "wider.zip")
    model = make("PPO")
    before = state_of(model.policy)
    with pytest.raises(ValueError, match=r"deeper\.zip holds another network .*policy_kwargs"):
        load_weights(model, tmp_path / "deeper.zip")
    with pytest.raises(ValueError, match=r"wider\.zip: .*tokenizer"):
        load_weights(model, tmp_path / "wider.zip")
    assert same(before, state_of(model.policy))


class Evil:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return (Path.touch, (self.ran,))


def test_nothing_in_a_file_from_elsewhere_is_run(tmp_path: Path) -> None:
    """SB3's own load would run the settings; ours takes the weights beside them."""
    import base64

    model, ran = make("PPO"), tmp_path / "ran"
    model.save(tmp_path / "good.zip")
    evil = base64.b64encode(pickle.dumps(Evil(ran))).decode()
    data = f'{{"policy_class": {{":type:": "x", ":serialized:": "{evil}"}}}}'
    with (
        zipfile.ZipFile(tmp_path / "good.zip") as good,
        zipfile.ZipFile(tmp_path / "evil.zip", "w") as bad,
    ):
        for name in good.namelist():
            bad.writestr(name, data if name == "data" else good.read(name))
    load_weights(model, tmp_path / "evil.zip")
    assert not ran.exists()
    with pytest.raises(Exception):  # noqa: B017  (whatever SB3 makes of the rest)
        PPO.load(tmp_path / "evil.zip")
    assert ran.exists()  # the trap works


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no file of an SB3 policy"),
        (b"no zip", "is no file of an SB3 policy"),
        ({}, r"policy\.pth"),
        ({"policy.pth": pickle.dumps(Evil(Path("never")), 2)}, "holds no plain weights|no file of"),
        ({"policy.pth": [1]}, "no dict of tensors"),
        ({"policy.pth": {"a": 1}}, "no dict of tensors"),
    ],
)
def test_other_files_are_refused_by_name(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in content.items():
                if isinstance(value, bytes):
                    archive.writestr(name, value)
                else:
                    with archive.open(name, "w") as file:
                        torch.save(value, file)
    with pytest.raises(ValueError, match=message) as caught:
        read_weights(path)
    assert "file.zip" in str(caught.value) and not Path("never").exists()
