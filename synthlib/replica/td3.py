"""TD3 (Fujimoto et al., 2018), small and quick on one core: it trains the behaviour policies of the replica data.

Why not a library: the well-kept ones make 50-100 environment steps a second on one core, and the suite needs about
three million; this file makes 200-300. It does so by batch 128, gradients written down by hand, fused Adam on one long
tensor, and no bookkeeping in the loop.
Everything a run needs to go on (weights, moments, generator states, the whole replay buffer) lies in its folder.
"""

import copy
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from synthlib.kernels.adam import flatten
from synthlib.machine.files import read_json, write_atomically, write_json
from synthlib.offline.environments import make_environment
from synthlib.offline.evaluation import Evaluator
from synthlib.tasks import MAX_EPISODE_STEPS

EVALUATION_SEED = 10_000

threshold_backward = torch.ops.aten.threshold_backward  # the gradient of ReLU


@dataclass(frozen=True)
class TD3Config:
    """Hyperparameters of TD3's paper, but for the batch (100 there) and the random steps (1,000 or 10,000 there)."""

    environment: str
    steps: int  # environment steps, one update each after `random_steps`
    seed: int = 0
    hidden: int = 256
    batch_size: int = 128
    learning_rate: float = 1e-3
    late_learning_rate: float = 3e-4  # TD3's paper has one rate; a lower one ends the swings of a nearly done training
    late_from: int | None = None  # the step from which it holds; None: never
    discount: float = 0.99
    target_rate: float = 0.005
    policy_delay: int = 2  # critic updates for each one of the actor and the targets
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    random_steps: int = 10_000  # uniform actions at the start, without updates
    evaluate_every: int = 5_000
    evaluation_episodes: int = 5
    masses: str = "d4rl"


@dataclass
class Progress:
    """How far a training is: environment steps, whole episodes, seconds of processor time."""

    step: int = 0
    episode: int = 0
    seconds: float = 0.0


def mlp(inputs, hidden, outputs):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class Agent:
    """Actor, twin critics, their targets and optimisers. Actions lie in [-1, 1], as those of the four environments.

    Gradients are computed by hand into one long tensor per optimiser: two thirds of autograd's time at this size.
    """

    def __init__(self, observation_width, action_width, config):
        self.config, self.observation_width, self.action_width = config, observation_width, action_width
        self.actor = mlp(observation_width, config.hidden, action_width)
        self.critics = nn.ModuleList([mlp(observation_width + action_width, config.hidden, 1) for _ in range(2)])
        self.actor_target = copy.deepcopy(self.actor)
        self.critics_target = copy.deepcopy(self.critics)
        self._actor_weights, self._critic_weights, self._actor_target_weights, self._critic_target_weights = (
            flatten(list(part.parameters()))
            for part in (self.actor, self.critics, self.actor_target, self.critics_target)
        )
        adam = {"lr": config.learning_rate, "fused": True}
        self.actor_optimiser = torch.optim.Adam([self._actor_weights], **adam)
        self.critic_optimiser = torch.optim.Adam([self._critic_weights], **adam)
        self.updates = 0

    def set_learning_rate(self, rate):
        for optimiser in (self.actor_optimiser, self.critic_optimiser):
            for group in optimiser.param_groups:
                group["lr"] = rate

    def act(self, observations):
        """Deterministic actions (..., A) of float32 tensors (..., O)."""
        return self.actor(observations).tanh()

    @torch.no_grad()
    def update(self, observation, action, reward, next_observation, discount, noise):
        """One TD3 update. Batches (B, .), ``discount`` (B,) is 0 at a terminal step, ``noise`` (B, A) is N(0, 1)."""
        config = self.config
        smoothing = (noise * config.target_noise).clamp_(-config.target_noise_clip, config.target_noise_clip)
        next_action = self.actor_target(next_observation).tanh_().add_(smoothing).clamp_(-1, 1)
        next_input = torch.cat([next_observation, next_action], 1)
        first, second = (critic(next_input) for critic in self.critics_target)
        target = torch.addcmul(reward, discount, torch.minimum(first, second).squeeze(1)).unsqueeze_(1)
        inputs = torch.cat([observation, action], 1)
        for critic in self.critics:
            hidden_1, hidden_2, value = _forward(critic, inputs)
            _backward(critic, inputs, hidden_1, hidden_2, value.sub_(target).mul_(2 / len(value)))
        self.critic_optimiser.step()

        self.updates += 1
        if self.updates % config.policy_delay:
            return
        actor, critic = self.actor, self.critics[0]
        actor_1, actor_2, action = _forward(actor, observation)
        action.tanh_()
        hidden_1, hidden_2, value = _forward(critic, torch.cat([observation, action], 1))
        # Ascend the first critic: d(-mean Q)/d action, through the critic's layers, then through tanh.
        delta = critic[4].weight.mul(-1 / len(value)).expand(len(value), -1)
        delta = threshold_backward(delta, hidden_2, 0) @ critic[2].weight
        delta = threshold_backward(delta, hidden_1, 0) @ critic[0].weight[:, self.observation_width :]
        _backward(actor, observation, actor_1, actor_2, delta.mul_(1 - action.square()))
        self.actor_optimiser.step()
        self._actor_target_weights.lerp_(self._actor_weights, config.target_rate)
        self._critic_target_weights.lerp_(self._critic_weights, config.target_rate)

    def state(self):
        parts = ("actor", "critics", "actor_target", "critics_target", "actor_optimiser", "critic_optimiser")
        return {part: getattr(self, part).state_dict() for part in parts} | {"updates": self.updates}

    def load(self, state):
        self.updates = state["updates"]
        for part in state.keys() - {"updates"}:
            getattr(self, part).load_state_dict(state[part])


def _forward(network, inputs):
    """Both hidden layers after their ReLU, and the output before any activation."""
    hidden_1 = torch.addmm(network[0].bias, inputs, network[0].weight.t()).relu_()
    hidden_2 = torch.addmm(network[2].bias, hidden_1, network[2].weight.t()).relu_()
    return hidden_1, hidden_2, torch.addmm(network[4].bias, hidden_2, network[4].weight.t())


def _backward(network, inputs, hidden_1, hidden_2, delta):
    """Write the gradients of a network's weights from ``delta``, the loss's gradient at its output."""
    for layer, below, activation in ((4, hidden_2, hidden_2), (2, hidden_1, hidden_1), (0, inputs, None)):
        weight = network[layer].weight
        torch.mm(delta.t(), below, out=weight.grad)
        torch.sum(delta, dim=0, out=network[layer].bias.grad)
        if activation is not None:
            delta = threshold_backward(delta @ weight, activation, 0)


class Replay:
    """Every transition of a run in order, as memory-mapped arrays in ``folder``; it never evicts.

    ``ends`` is 1 where an episode ended by falling (terminal), 2 where it ran out of time, else 0.
    """

    def __init__(self, folder, capacity, observation_width, action_width, state_width):
        folder.mkdir(parents=True, exist_ok=True)
        shapes = {
            "observations": (capacity, observation_width),
            "actions": (capacity, action_width),
            "rewards": (capacity,),
            "next_observations": (capacity, observation_width),
            "ends": (capacity,),
            "physics": (capacity, state_width),
        }
        for name, shape in shapes.items():
            dtype = np.float64 if name == "physics" else np.float32
            setattr(self, name, _array_on_disk(folder / f"{name}.npy", shape, dtype))
        self.names = tuple(shapes)

    def write(self, index, **transition):
        for name in self.names:
            getattr(self, name)[index] = transition[name]

    def batch(self, rows, discount):
        """The arguments of :meth:`Agent.update` for the given row indices, without the noise."""
        take = lambda name: torch.from_numpy(getattr(self, name)[rows])  # noqa: E731
        return (
            take("observations"),
            take("actions"),
            take("rewards"),
            take("next_observations"),
            discount * (take("ends") != 1).float(),
        )

    def flush(self):
        for name in self.names:
            getattr(self, name).flush()


def _array_on_disk(path, shape, dtype):
    """A writable memory-mapped array; one that is there already keeps its rows, and grows when it has too few."""
    old = np.lib.format.open_memmap(path, mode="r+") if path.exists() else None
    if old is not None and len(old) >= shape[0]:
        return old

    def write(temporary):
        new = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        if old is not None:
            new[: len(old)] = old
        new.flush()

    write_atomically(path, write)
    return np.lib.format.open_memmap(path, mode="r+")


def train(config, folder, report=print):
    """Train for ``config.steps`` steps in ``folder``; goes on from its last checkpoint, bit for bit, if there is one.

    Leaves ``evaluations.csv`` (steps, score, seconds, lowest and highest return), ``policies/<steps>.pt`` for every
    evaluation, the replay buffer, and a checkpoint. The rows after the last checkpoint are collected anew. Raises
    ValueError when the folder holds a training with another configuration (its length may grow).
    """
    torch.set_num_threads(1)
    folder = Path(folder)
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    _check_config(config, folder / "config.json")
    env = make_environment(config.environment, config.masses).unwrapped
    observation_width, action_width = env.observation_space.shape[0], env.action_space.shape[0]
    evaluator = Evaluator(config.environment, config.evaluation_episodes, config.masses)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    agent = Agent(observation_width, action_width, config)
    state_width = env.model.nq + env.model.nv
    replay = Replay(folder / "replay", config.steps, observation_width, action_width, state_width)
    progress = _resume(folder / "checkpoint.pt", agent, rng)
    if progress.step:
        report(f"{config.environment}: going on at step {progress.step}")

    began, next_save = time.process_time() - progress.seconds, progress.step + config.evaluate_every
    while _run_episode(env, agent, replay, rng, progress):
        if progress.step < next_save:
            continue
        # Only between episodes, so that the replay holds whole ones whatever happens.
        next_save = progress.step + config.evaluate_every
        progress.seconds = time.process_time() - began
        found = evaluator.evaluate(lambda observations: _deterministic(agent, observations), EVALUATION_SEED)
        torch.save(nn.Sequential(agent.actor).state_dict(), folder / "policies" / f"{progress.step}.pt")
        with open(folder / "evaluations.csv", "a") as file:
            extremes = f"{found.returns.min():.1f},{found.returns.max():.1f}"
            file.write(f"{progress.step},{found.score:.3f},{progress.seconds:.1f},{extremes}\n")
        replay.flush()
        _save(folder / "checkpoint.pt", agent, rng, progress)
        report(f"{config.environment}: step {progress.step}, score {found.score:.1f}, {progress.seconds:.0f} s")


def _run_episode(env, agent, replay, rng, progress):
    """Collect one episode, one update a step; False when the training ends before the episode does."""
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
        end = 2 if length == MAX_EPISODE_STEPS else int(terminal)
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


def _explore(agent, observation, rng, random):
    """The action (A,) float32 in [-1, 1] to take in training."""
    action_width = agent.action_width
    if random:
        return rng.uniform(-1, 1, action_width).astype(np.float32)
    with torch.no_grad():
        action = agent.act(torch.from_numpy(observation.astype(np.float32))).numpy()
    noise = rng.normal(0, agent.config.exploration_noise, action_width).astype(np.float32)
    return np.clip(action + noise, -1, 1)


def _deterministic(agent, observations):
    """Actions for observations (n, O), without the zeros that the ant's have in the data."""
    with torch.no_grad():
        return agent.act(torch.from_numpy(observations[:, : agent.observation_width])).numpy()


def _check_config(config, path):
    wanted = asdict(config)
    if path.exists():
        found = read_json(path)
        other = [name for name in wanted if name != "steps" and found.get(name) != wanted[name]]
        if other:
            known = ", ".join(f"{name}={found.get(name)!r}" for name in other)
            raise ValueError(f"{path.parent} holds a training with {known}; choose another folder, or delete it")
    write_json(path, wanted)


def _save(path, agent, rng, progress):
    state = {"agent": agent.state(), "torch": torch.get_rng_state(), "numpy": rng.bit_generator.state}
    write_atomically(path, lambda temporary: torch.save(state | asdict(progress), temporary))


def _resume(path, agent, rng):
    """The :class:`Progress` of a checkpoint, with agent and generators set to it; a new one if there is none."""
    if not path.exists():
        return Progress()
    saved = torch.load(path, weights_only=False)
    agent.load(saved["agent"])
    torch.set_rng_state(saved["torch"])
    rng.bit_generator.state = saved["numpy"]
    return Progress(saved["step"], saved["episode"], saved["seconds"])
