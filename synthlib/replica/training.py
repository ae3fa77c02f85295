"""The training of one behaviour policy by TD3: episodes are collected with one update per step, and evaluations.

Everything that a training needs to resume (weights, Adam's moments, generator states, replay buffer) is in its folder.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv
from torch import nn

from synthlib.machine.files import read_json, write_atomically, write_json, write_text
from synthlib.machine.processes import prepare_process
from synthlib.offline.environments import unwrapped_environment
from synthlib.offline.evaluation import Evaluation, Evaluator
from synthlib.offline.masses import with_label
from synthlib.replica.replay_buffer import ENDED_BY_TIME, ReplayBuffer
from synthlib.replica.td3 import TD3, TD3Config
from synthlib.runs.progress import is_whole
from synthlib.runs.session import load_saved
from synthlib.tasks import MAX_EPISODE_STEPS

STEPS = {"halfcheetah": 700_000, "hopper": 290_000, "walker2d": 430_000, "ant": 760_000}
LATE_FROM = {"halfcheetah": 565_000, "ant": 556_679}  # steps; at the first learning rate, these two stopped improving
EVALUATION_SEED = 10_000


@dataclass
class Progress:
    """The progress of a training: environment steps, complete episodes, seconds of processor time."""

    step: int = 0
    episode: int = 0
    seconds: float = 0.0


def settings(environment: str, steps: int | None = None) -> TD3Config:
    """The configuration that trained the embedded policies; ``steps`` overrides the length of the training."""
    return TD3Config(environment, steps or STEPS[environment], late_from=LATE_FROM.get(environment))


def train(config: TD3Config, folder: Path, report: Callable[[str], object] = print) -> None:
    """Train for ``config.steps`` steps in ``folder``; resumes from the last checkpoint there, bit for bit.

    Writes ``evaluations.csv`` (steps, score, seconds, lowest and highest return), ``policies/<steps>.pt`` for every
    evaluation, the replay buffer, and ``checkpoint.pt``. After a resumption, steps after the last checkpoint are
    collected again. Raises ValueError when the folder holds a training with another configuration (only its length may
    differ).
    """
    prepare_process()
    folder = Path(folder)
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    _check_config(config, folder / "config.json")
    env = unwrapped_environment(config.environment, config.body_masses)
    observation_width, action_width = _width(env.observation_space), _width(env.action_space)
    evaluator = Evaluator(config.environment, config.evaluation_episodes, config.body_masses)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    agent = TD3(observation_width, action_width, config)
    state_width = env.model.nq + env.model.nv
    replay = ReplayBuffer(folder / "replay", config.steps, observation_width, action_width, state_width)
    progress = _resume(folder / "checkpoint.pt", agent, rng)
    if progress.step:
        report(f"{config.environment}: going on at step {progress.step}")

    began, next_save = time.process_time() - progress.seconds, progress.step + config.evaluate_every
    while _run_episode(env, agent, replay, rng, progress):
        if progress.step < next_save:
            continue
        # Save only between episodes, so that the saved replay buffer never ends inside an episode.
        next_save = progress.step + config.evaluate_every
        progress.seconds = time.process_time() - began
        found = evaluator.evaluate(lambda observations: _deterministic(agent, observations), EVALUATION_SEED)
        _save_policy(folder / "policies" / f"{progress.step}.pt", agent)
        _add_evaluation(folder / "evaluations.csv", progress, found)
        replay.flush()
        _save(folder / "checkpoint.pt", agent, rng, progress)
        report(f"{config.environment}: step {progress.step}, score {found.score:.1f}, {progress.seconds:.0f} s")


def _width(space: gymnasium.Space) -> int:
    """The width of the vectors in a ``gymnasium.spaces.Box`` of shape (width,)."""
    assert space.shape is not None, "a Box has a shape"
    return space.shape[0]


def _run_episode(
    env: MujocoEnv, agent: TD3, replay: ReplayBuffer, rng: np.random.Generator, progress: Progress
) -> bool:
    """Collect one episode, with one update per step. Returns False when the training ends inside the episode."""
    config = agent.config
    late = config.late_from is not None and progress.step >= config.late_from
    agent.set_learning_rate(config.late_learning_rate if late else config.learning_rate)
    observation, _ = env.reset(seed=config.seed * 1_000_003 + progress.episode)
    for length in range(1, MAX_EPISODE_STEPS + 1):
        if progress.step == config.steps:
            return False
        action = _explore(agent, observation, rng, random=progress.step < config.random_steps)
        state = np.concatenate([env.data.qpos, env.data.qvel])
        following, reward, terminal, _, _ = env.step(action)
        end = ENDED_BY_TIME if length == MAX_EPISODE_STEPS else int(terminal)
        replay.write(
            progress.step,
            observations=observation,
            actions=action,
            rewards=reward,
            next_observations=following,
            ends=end,
            physics=state,
        )
        observation = following
        progress.step += 1
        if progress.step > config.random_steps:
            batch = replay.batch(rng.integers(0, progress.step, config.batch_size), config.discount)
            agent.update(*batch, torch.randn(config.batch_size, len(action)))
        if end:
            break
    progress.episode += 1
    return True


def _explore(agent: TD3, observation: np.ndarray, rng: np.random.Generator, random: bool) -> np.ndarray:
    """The action (A,), float32 in [-1, 1], of a training step: uniform when ``random``, else the actor's with noise."""
    action_width = agent.action_width
    if random:
        return rng.uniform(-1, 1, action_width).astype(np.float32)
    with torch.no_grad():
        action = agent.act(torch.from_numpy(observation.astype(np.float32))).numpy()
    noise = rng.normal(0, agent.config.exploration_noise, action_width).astype(np.float32)
    return np.clip(action + noise, -1, 1)


def _deterministic(agent: TD3, observations: np.ndarray) -> np.ndarray:
    """Actions (n, A) for observations (n, O) as in the data; the agent takes the ant's without the zeros at the end."""
    with torch.no_grad():
        return agent.act(torch.from_numpy(observations[:, : agent.observation_width])).numpy()


def _check_config(config: TD3Config, path: Path) -> None:
    wanted = asdict(config)
    if path.exists():
        found = with_label(read_json(path))
        other = [name for name in wanted if name != "steps" and found.get(name) != wanted[name]]
        if other:
            known = ", ".join(f"{name}={found.get(name)!r}" for name in other)
            raise ValueError(f"{path.parent} holds a training with {known}; choose another folder, or delete it")
    write_json(path, wanted)


def _save_policy(path: Path, agent: TD3) -> None:
    state = nn.Sequential(agent.actor).state_dict()
    write_atomically(path, lambda temporary: torch.save(state, temporary))


def _add_evaluation(path: Path, progress: Progress, found: Evaluation) -> None:
    earlier = path.read_text() if path.exists() else ""
    extremes = f"{found.returns.min():.1f},{found.returns.max():.1f}"
    write_text(path, f"{earlier}{progress.step},{found.score:.3f},{progress.seconds:.1f},{extremes}\n")


def _save(path: Path, agent: TD3, rng: np.random.Generator, progress: Progress) -> None:
    state = {"agent": agent.state(), "torch": torch.get_rng_state(), "numpy": rng.bit_generator.state}
    write_atomically(path, lambda temporary: torch.save(state | asdict(progress), temporary))


def _resume(path: Path, agent: TD3, rng: np.random.Generator) -> Progress:
    """Restore agent and generators from a checkpoint; returns its :class:`Progress`, a new one without a checkpoint."""
    if not path.exists():
        return Progress()
    if not is_whole(path):
        raise ValueError(f"{path} is damaged; delete {path.parent} to train from the start")
    saved = load_saved(path)
    agent.load(saved["agent"])
    torch.set_rng_state(saved["torch"])
    rng.bit_generator.state = saved["numpy"]
    return Progress(saved["step"], saved["episode"], saved["seconds"])
