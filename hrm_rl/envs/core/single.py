"""Single environments in Gymnasium's ordinary form: NumPy views of a vector environment with one row."""

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from hrm_rl.envs.core.from_arrays import take_pool
from hrm_rl.envs.core.rendering import Drawer, PictureDrawer
from hrm_rl.envs.core.source import Source
from hrm_rl.envs.core.transition import Checker
from hrm_rl.envs.core.vector import PuzzleVectorEnv
from hrm_rl.envs.to_numpy import take_row, to_numpy

_BATCH_ONLY = ("episode", "final_obs", "final_info")


class RowEnv(gym.Env[Any, Any]):
    """The one row of a vector environment of this package that has no autoreset.

    Spaces, reward and info are those of the vector environment, without the batch dimension and the entries
    of automatic resets. Seeded with `seed + i`, it equals row i of a vector environment seeded with `seed`.
    """

    def __init__(self, core: Any) -> None:
        assert core.num_envs == 1
        assert core.metadata["autoreset_mode"] == AutoresetMode.DISABLED
        self.core = core
        self.observation_space = core.single_observation_space
        self.action_space = core.single_action_space
        self.render_mode = core.render_mode
        self.metadata = {**self.metadata, "render_modes": core.metadata["render_modes"]}
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        if options:
            raise ValueError(f"reset takes no options here, got {options!r}")
        super().reset(seed=seed)
        if seed is None and not self._started:
            # np_random is this environment's own generator, so an unseeded start is a random one.
            seed = int(self.np_random.integers(1 << 62))
        self._started = True
        obs, info = self.core.reset(seed=seed)
        return _row(obs), _row_info(info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if isinstance(action, dict):
            batched: Any = {key: np.asarray(value)[None] for key, value in action.items()}
        else:
            batched = np.asarray(action)[None]
        obs, reward, terminated, _, info = self.core.step(batched)
        judged = _row_info(info)
        # SB3, its Monitor and rl-zoo3 read this: whether the answer is one that pays.
        judged["is_success"] = bool(judged[self.core.settings.pays])
        return _row(obs), float(reward), bool(terminated), False, judged

    def render(self) -> str | NDArray[np.uint8] | None:  # type: ignore[override]
        """The board with the draft in it, and the number of segments run.

        A string in mode "ansi"; in mode "rgb_array" a new array uint8 [H, W, 3] that also has the
        values of `show_q`; None without a mode or before the first reset.
        """
        frames = self.core.render()
        return None if frames is None else frames[0]


class PuzzleEnv(RowEnv):
    """A puzzle whose every step ends one reasoning segment: a draft, and whether to halt.

    It is one row of `PuzzleVectorEnv`, which documents spaces, reward and info: without the batch dimension
    and without the entries of automatic resets. Seeded with `seed + i`, it equals row i of a vector
    environment seeded with `seed`.

    Renders as text (`render_mode="ansi"`) and, if its puzzle has a picture, as an array of pixels
    (`"rgb_array"`, uint8 [H, W, 3], of one shape for all steps); `metadata` of the instance lists its modes.
    `show_q` puts an agent's Q values into the picture.

    Args:
        source: the puzzles.
        halt_max_steps: see `EpisodeSettings`.
        segment_cost: see `EpisodeSettings`.
        checker: see `EpisodeSettings`.
        flat_action: take one array of S tokens and `halt` as an action, instead of a dictionary.
        drawer: draws a puzzle as text.
        picture: draws a puzzle as an image.
        render_mode: "ansi" or "rgb_array"; None draws nothing.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium's form)

    def __init__(
        self,
        source: Source,
        *,
        halt_max_steps: int = 16,
        segment_cost: float = 0.0,
        checker: Checker = "exact",
        flat_action: bool = False,
        drawer: Drawer | None = None,
        picture: PictureDrawer | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.source = source
        core = PuzzleVectorEnv(
            1,
            source,
            halt_max_steps=halt_max_steps,
            segment_cost=segment_cost,
            checker=checker,
            flat_action=flat_action,
            autoreset_mode=AutoresetMode.DISABLED,
            drawer=drawer,
            picture=picture,
            render_mode=render_mode,
        )
        super().__init__(core)

    @classmethod
    def from_arrays(cls, inputs: ArrayLike, labels: ArrayLike, **settings: Any) -> "PuzzleEnv":
        """An environment over your puzzles; arguments and errors as `PuzzleVectorEnv.from_arrays`."""
        source = take_pool(inputs, labels, settings, cls)
        return cls(source, **settings)

    def show_q(self, q_halt: SupportsFloat, q_continue: SupportsFloat) -> None:
        """Show these Q values in the picture until the next call or reset. Changes nothing else.

        Call it before the step that submits the segment's draft, since recorders render inside
        `step`. Through wrappers: `env.unwrapped.show_q(...)`.

        Args:
            q_halt: logit, a number or a tensor of one; drawn as its sigmoid. NaN means unknown.
            q_continue: likewise.
        """
        self.core.show_q([float(q_halt)], [float(q_continue)])


def _row(batch: Any) -> Any:
    """The one row of a tensor, or of a dict of them, as NumPy."""
    return take_row(to_numpy(batch), 0)


def _row_info(info: dict[str, Any]) -> dict[str, Any]:
    return _row({k: v for k, v in info.items() if k[0] != "_" and k not in _BATCH_ONLY})
