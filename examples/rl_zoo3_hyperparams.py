"""Hyperparameters for rl-zoo3, to be passed as `-conf`.

    pip install rl_zoo3 -e .
    python -m rl_zoo3.train --algo ppo --env HRM/Halting-v0 --gym-packages hrm_rl \\
        -conf examples/rl_zoo3_hyperparams.py --env-kwargs segment_cost:0.05
    python -m rl_zoo3.enjoy --algo ppo --env HRM/Halting-v0 --gym-packages hrm_rl -f logs \\
        --env-kwargs segment_cost:0.05 --no-render -n 1000

The second entry trains a policy with an HRM in an ordinary environment.
"""

from hrm_rl.agents.sb3 import hrm_policy_kwargs

hyperparams = {
    "HRM/Halting-v0": {
        "policy": "MlpPolicy",
        "n_envs": 16,
        "n_timesteps": 30_000,
        "n_steps": 128,
        "batch_size": 512,
        "n_epochs": 4,
        "gamma": 1.0,  # episodes are short, and each segment is paid for at once
        "learning_rate": 2e-3,
    },
    "CartPole-v1": {  # the settings of cartpole_ppo.py
        "policy": "MlpPolicy",
        "policy_kwargs": hrm_policy_kwargs(hidden_size=32, segments=1, num_heads=2, L_cycles=1),
        "normalize": "{'norm_obs': False, 'norm_reward': True}",
        "n_envs": 8,
        "n_timesteps": 98_304,
        "n_steps": 128,
        "batch_size": 256,
        "n_epochs": 10,
        "target_kl": 0.03,
        "learning_rate": "lin_0.001",
    },
}
