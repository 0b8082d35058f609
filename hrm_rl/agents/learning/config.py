"""LearnerConfig: the settings of training a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from hrm_rl.agents.learning.halting_loss import (
    HALTING_LOSSES,
    Exploration,
    HaltingLoss,
    HaltingName,
    QLearning,
)
from hrm_rl.agents.learning.losses import TOKEN_LOSSES, TokenLoss
from hrm_rl.model.noise import Noise
from hrm_rl.model.recurrence import GRADIENTS, Gradient
from hrm_rl.settings import (
    LARGEST_SEED,
    SettingError,
    check_at_least,
    check_integers,
    check_interval,
    check_one_of,
    restore,
)

OptimizerName = Literal["adam-atan2", "adamw", "muon"]
OPTIMIZERS: tuple[OptimizerName, ...] = ("adam-atan2", "adamw", "muon")
TrainOnly = Literal["all", "puzzle-embedding"]
TRAIN_ONLY: tuple[TrainOnly, ...] = ("all", "puzzle-embedding")
# Settings under the names that older files give them.
RENAMED_SETTINGS = {"halting": "halting_loss"}


@dataclass(frozen=True)
class LearnerConfig:
    """Settings of training a model; the defaults are the reference's Sudoku recipe.

    Raises ValueError, naming the field, for a value out of range.
    """

    optimizer: OptimizerName = "adam-atan2"
    """adam-atan2 (the reference's; no epsilon), adamw, or muon for the matrices of the blocks with adamw for
    all other weights (PyTorch 2.9 or newer). Puzzle embeddings always take sign-SGD."""
    lr: float = 1e-4
    """Learning rate after warm-up."""
    weight_decay: float = 1.0
    """Decoupled decay of every weight: each step multiplies it by 1 - lr * weight_decay. It bounds the
    weights, on which the paper rests the stability of its Q-learning."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of the gradient's running mean and mean square."""
    muon_lr: float = 0.02
    """muon: learning rate of the blocks' matrices, on the same schedule; lr is that of the other weights."""
    muon_weight_decay: float = 0.005
    """muon: decay of the blocks' matrices."""
    puzzle_emb_lr: float = 1e-4
    """Learning rate of the puzzle embeddings' sign-SGD, on the same schedule."""
    puzzle_emb_weight_decay: float = 1.0
    """Decay of the puzzle embeddings, on the rows a batch touches."""
    warmup_steps: int = 2000
    """Steps in which the learning rate rises linearly to lr."""
    lr_min_ratio: float = 1.0
    """Where the cosine ends, as a share of lr; 1 keeps lr constant."""
    total_steps: int | None = None
    """Length of the cosine, in steps; `hrm-rl train` stretches it with max_steps."""
    token_loss: TokenLoss = "stablemax"
    """Cross-entropy of the cells by stablemax (the reference) or softmax."""
    label_smoothing: float = 0.0
    """Share of a label's probability that is spread evenly over all tokens, in [0, 1)."""
    q_loss_weight: float = 0.5
    """Weight of the Q losses beside the token loss; the reference's is 0.5."""
    q_target: str = "full"
    """What q_continue learns from: `full` (the paper), `every:K`, `subsample:P`, `delayed`, `lambda:L`,
    or `none`, which learns only q_halt and halts where it is > 0. See `hrm_rl.agents.learning.q_targets`."""
    gradient: Gradient = "one-step"
    """How much of a segment is differentiated: one-step (the last L and H call, the paper's approximation),
    last-cycle (the last H-cycle) or full; memory and time grow in proportion."""
    exploration: Exploration = "step"
    """Draw the segment before which a row may not halt at every step (the reference's code) or once an
    episode (the paper)."""
    gamma: float = 1.0
    """Discount of the bootstrap target, in (0, 1]; with 1, the paper's, only being right counts."""
    segment_cost: float = 0.0
    """Price of a segment in the bootstrap target, in units of the reward for a right answer; give the
    environment the same."""
    train_only: TrainOnly = "all"
    """What learns: all weights, or puzzle-embedding, which learns new puzzle ids on a frozen network."""
    halting_loss: HaltingName = "q"
    """How stopping is learned: by Q-learning (the paper), or jointly with the answers: `act` (Graves) or
    `ponder` (PonderNet), where episodes run to the limit and each gives one update."""
    ponder_prior: float = 0.2
    """ponder: the prior's probability of halting at a segment; higher stops earlier."""
    ponder_weight: float = 0.1
    """ponder: weight of the divergence from the prior."""
    act_cost: float = 0.001
    """act: price of a segment in the loss; higher stops earlier."""
    act_epsilon: float = 0.01
    """act: an episode is over where the halting units' sum reaches 1 - act_epsilon."""
    random_start: bool = False
    """Start every episode from random states instead of H_init and L_init, which evaluation still takes;
    several random starts of a puzzle need a model that learned so."""
    path_noise: float = 0.0
    """Standard deviation of the Gaussian noise added to the states between segments."""
    seed: int = 0
    """Seeds the exploration and the noise."""

    def __post_init__(self) -> None:
        check_one_of(self, OPTIMIZERS, "optimizer")
        check_one_of(self, TOKEN_LOSSES, "token_loss")
        check_one_of(self, GRADIENTS, "gradient")
        check_one_of(self, TRAIN_ONLY, "train_only")
        check_one_of(self, tuple(HALTING_LOSSES), "halting_loss")
        rates = ("lr", "weight_decay", "muon_lr", "muon_weight_decay", "puzzle_emb_lr")
        check_at_least(self, 0, *rates, "puzzle_emb_weight_decay", "path_noise", "warmup_steps")
        check_integers(self, 0, "warmup_steps")
        for loss in HALTING_LOSSES.values():
            loss.of(self)  # checks the settings it reads
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise SettingError(f"betas must be two numbers in [0, 1), got {self.betas}", "betas")
        check_interval(self, "[0, 1]", "lr_min_ratio")
        check_interval(self, "[0, 1)", "label_smoothing")
        check_integers(self, 0, "seed", most=LARGEST_SEED)
        if self.total_steps is not None:
            check_integers(self, 1, "total_steps")
        elif self.lr_min_ratio != 1.0:
            message = "lr_min_ratio needs total_steps, the length of the cosine"
            raise SettingError(message, "lr_min_ratio", "total_steps")
        self._refuse_unread_q_settings()

    def _refuse_unread_q_settings(self) -> None:
        if self.halting_loss == "q":
            return
        for name, default in q_defaults().items():
            value = getattr(self, name)
            if value != default:
                raise SettingError(
                    f"{name} {value!r} is for halting_loss 'q'; halting_loss {self.halting_loss!r} does "
                    f"not use Q-learning, so {name} must be {default!r}",
                    name,
                    "halting_loss",
                )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config of a stored mapping, which may use older names.

        Raises SettingError for a value of the wrong type or range, or an unknown name.
        """
        settings = {RENAMED_SETTINGS.get(name, name): value for name, value in values.items()}
        return restore(cls, settings)

    @property
    def noise(self) -> Noise:
        """The noise that training adds to the states."""
        return Noise(self.random_start, self.path_noise)

    @property
    def stopping(self) -> HaltingLoss:
        """How stopping is learned, with its settings."""
        return HALTING_LOSSES[self.halting_loss].of(self)

    @property
    def rule(self) -> str:
        """Spec of the rule for stopping that training is for: `q`, `q-halt:0`, `act:0.99`, `ponder:0.5`."""
        return self.stopping.rule

    def check_limit(self, halt_max_steps: int) -> None:
        """Raises ValueError if a limit of `halt_max_steps` segments leaves nothing to decide."""
        if halt_max_steps < self.stopping.min_segments:
            raise ValueError(
                f"halting_loss {self.halting_loss!r} needs halt_max_steps of "
                f"{self.stopping.min_segments} or more, got {halt_max_steps}: there is nothing to decide"
            )


def q_defaults() -> dict[str, Any]:
    """The defaults of the settings that only Q-learning reads."""
    return {name: getattr(LearnerConfig, name) for name in QLearning.settings()}


for _name, _loss in HALTING_LOSSES.items():
    if _missing := set(_loss.settings()) - set(LearnerConfig.__annotations__):
        raise TypeError(f"LearnerConfig needs the settings of halting_loss {_name!r}: {_missing}")
