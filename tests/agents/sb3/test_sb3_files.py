"""SB3's files from elsewhere: weights are read, nothing else is run, and what does not fit is refused."""

import base64
import pickle
import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO

from hrm_rl.agents.sb3 import hrm_policy_kwargs, load_weights, read_weights


class Shows(gym.Env[Any, int]):
    """Enough of an environment to make a model for."""

    def __init__(self, **parts: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = spaces.Dict(parts), spaces.Discrete(2)


def make(choices: int = 2, **options: Any) -> PPO:
    """An untrained model that sees a vector `a`, and which of some choices `b` is."""
    env = Shows(a=spaces.Box(-1, 1, (3,)), b=spaces.Discrete(choices))
    kwargs = hrm_policy_kwargs(16, net_arch=[16], num_heads=2, **options)
    return PPO("MultiInputPolicy", env, n_steps=8, batch_size=8, device="cpu", policy_kwargs=kwargs)


def test_weights_for_other_observations_are_refused_by_sb3_too(tmp_path: Path) -> None:
    make(choices=3).save(tmp_path / "theirs.zip")
    with pytest.raises(ValueError, match=r"tokenizer.*'b'"):
        make(choices=4).set_parameters(str(tmp_path / "theirs.zip"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"L_layers": 2}, r"other\.zip holds another network .*policy_kwargs"),
        ({"choices": 5}, r"other\.zip: the checkpoint's tokenizer differs in part 'b'"),
    ],
)
def test_a_refused_file_changes_nothing(options: Any, message: str, tmp_path: Path) -> None:
    make(**options).save(tmp_path / "other.zip")
    policy = (model := make()).policy
    before = {key: value.clone() for key, value in policy.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "other.zip")
    assert before.keys() == policy.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in policy.state_dict().items())


class Evil:
    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return (Path.touch, (self.ran,))


def test_nothing_in_a_file_from_elsewhere_is_run(tmp_path: Path) -> None:
    """SB3's own load would run the settings; ours takes the weights beside them."""
    model, ran = make(), tmp_path / "ran"
    model.save(tmp_path / "good.zip")
    evil = base64.b64encode(pickle.dumps(Evil(ran))).decode()
    data = f'{{"policy_class": {{":type:": "x", ":serialized:": "{evil}"}}}}'
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(tmp_path / "evil.zip", "w") as bad:
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
        (None, "is not the file of an SB3 policy"),
        (b"no zip", "is not the file of an SB3 policy"),
        ({}, r"policy\.pth"),
        ({"policy.pth": pickle.dumps(Evil(Path("never")), 2)}, "holds more than weights|not the file of"),
        ({"policy.pth": [1]}, "not a dict of tensors"),
        ({"policy.pth": {"a": 1}}, "not a dict of tensors"),
    ],
)
def test_other_files_are_refused_by_name(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, value in content.items():
                with archive.open(name, "w") as file:
                    file.write(value) if isinstance(value, bytes) else torch.save(value, file)
    with pytest.raises(ValueError, match=message) as caught:
        read_weights(path)
    assert "file.zip" in str(caught.value) and not Path("never").exists()
