"""Runs in the second environment, where the real ``d4rl`` and ``gym`` live: answers what ``compare.py`` asks.

Usage: ``python legacy_side.py FOLDER``. Reads ``FOLDER/*.hdf5`` (toy or replica files, called ENVIRONMENT-*.hdf5) and
``FOLDER/steps-*.npz`` (states and actions), and writes ``FOLDER/answers/*.npz``. Imports nothing of this project.
"""

import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ["D4RL_SUPPRESS_IMPORT_ERROR"] = "1"  # of the task suites that need mujoco-py
warnings.simplefilter("ignore")

import d4rl  # noqa: E402
import gym  # noqa: E402
import mujoco  # noqa: E402
import numpy as np  # noqa: E402
from d4rl.offline_env import OfflineEnv  # noqa: E402

GYM_IDS = {"halfcheetah": "HalfCheetah-v4", "hopper": "Hopper-v4", "walker2d": "Walker2d-v4", "ant": "Ant-v4"}


def converted(path):
    """What d4rl's own reader and its two conversions make of a file."""
    env = OfflineEnv()  # its locomotion environments need mujoco-py; for reading a file, these three are enough
    observation_width, action_width, limit = np.load(path.with_suffix(".sizes.npy"))
    env.observation_space = gym.spaces.Box(-np.inf, np.inf, (observation_width,))
    env.action_space = gym.spaces.Box(-1, 1, (action_width,))
    env._max_episode_steps = int(limit)
    data = env.get_dataset(h5path=str(path))
    answer = {}
    for flag in (False, True):
        found = d4rl.qlearning_dataset(env, dataset=data, terminate_on_end=flag)
        answer |= {f"qlearning/{flag}/{name}": array for name, array in found.items()}
    answer["lengths"] = [len(episode["rewards"]) for episode in d4rl.sequence_dataset(env, dataset=data)]
    return answer


def stepped(path):
    """One step of the v4 environment from every given state: observation, reward, end."""
    asked = np.load(path)
    env = gym.make(GYM_IDS[str(asked["environment"])], disable_env_checker=True).unwrapped
    env.reset(seed=0)
    for name in ("body_mass", "body_inertia", "body_ipos", "body_iquat"):
        getattr(env.model, name)[:] = asked[name]
    # Its boxes would stay where a moved centre of mass was; without it, MuJoCo finds all contacts, but more slowly.
    env.model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE
    mujoco.mj_setConst(env.model, env.data)
    answers = []
    for qpos, qvel, action in zip(asked["qpos"], asked["qvel"], asked["actions"]):  # noqa: B905
        mujoco.mj_resetData(env.model, env.data)
        env.set_state(qpos, qvel)
        answers.append(env.step(action)[:3])
    names = ("observations", "rewards", "terminals")
    return {name: np.array(column) for name, column in zip(names, zip(*answers))}  # noqa: B905


def scores(names, returns):
    """d4rl's reference scores and addresses of the official files."""
    infos = d4rl.infos
    answer = {"versions": [f"{name} {version(name)}" for name in ("d4rl", "gym", "mujoco", "numpy")]}
    answer["returns"] = returns
    for name in names:
        low, high = infos.REF_MIN_SCORE[f"{name}-v2"], infos.REF_MAX_SCORE[f"{name}-v2"]
        answer[f"score/{name}"] = 100 * (returns - low) / (high - low)
        answer[f"url/{name}"] = infos.DATASET_URLS[f"{name}-v2"]
    return answer


def main(folder):
    answers = folder / "answers"
    answers.mkdir()
    for path in sorted(folder.glob("*.hdf5")):
        np.savez(answers / f"{path.stem}.npz", **converted(path))
    for path in sorted(folder.glob("steps-*.npz")):
        np.savez(answers / path.name, **stepped(path))
    tiers = ("medium", "medium-replay", "medium-expert")
    names = [f"{environment}-{tier}" for environment in GYM_IDS for tier in tiers]
    np.savez(answers / "scores.npz", **scores(names, np.linspace(-500, 14_000, 30)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
