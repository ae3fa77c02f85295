"""TD3 (Fujimoto et al., 2018), small and quick on one core: it trains the behaviour policies of the replica data.

Why not a library: the well-kept ones make 50-100 environment steps a second on one core, and the suite needs about
three million; this file makes 200-300. It does so by batch 128, PyTorch's fused Adam, and no bookkeeping in the loop.
Everything a run needs to go on (weights, moments, generator states, the whole replay buffer) lies in its folder.
"""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from synthlib.physics import MAX_EPISODE_STEPS, make_environment, normalised_score


@dataclass(frozen=True)
class TD3Config:
    environment: str
    steps: int  # environment steps, one update each after `random_steps`
    seed: int = 0
    hidden: int = 256
    batch_size: int = 128
    learning_rate: float = 1e-3
    discount: float = 0.99
    target_rate: float = 0.005
    policy_delay: int = 2
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    random_steps: int = 10_000
    evaluate_every: int = 5_000
    evaluation_episodes: int = 5
    masses: str = "d4rl"


def mlp(inputs, hidden, outputs):
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


class Agent:
    """Actor, twin critics, their targets and optimisers. Actions lie in [-1, 1] (the environment's are rescaled)."""

    def __init__(self, observation_width, action_width, config):
        self.config = config
        self.actor = nn.Sequential(mlp(observation_width, config.hidden, action_width), nn.Tanh())
        self.critics = nn.ModuleList([mlp(observation_width + action_width, config.hidden, 1) for _ in range(2)])
        self.actor_target = nn.Sequential(mlp(observation_width, config.hidden, action_width), nn.Tanh())
        self.critics_target = nn.ModuleList([mlp(observation_width + action_width, config.hidden, 1) for _ in range(2)])
        self.actor_target.load_state_dict(self.actor.state_dict())
        self.critics_target.load_state_dict(self.critics.state_dict())
        adam = dict(lr=config.learning_rate, fused=True)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), **adam)
        self.critic_optimiser = torch.optim.Adam(self.critics.parameters(), **adam)
        self.updates = 0

    def update(self, observation, action, reward, next_observation, discount, noise):
        """One TD3 update. Batches (B, .), ``discount`` (B,) is 0 at a terminal step, ``noise`` (B, A) standard normal."""
        config = self.config
        with torch.no_grad():
            smoothing = (noise * config.target_noise).clamp_(-config.target_noise_clip, config.target_noise_clip)
            next_action = (self.actor_target(next_observation) + smoothing).clamp_(-1, 1)
            next_input = torch.cat([next_observation, next_action], 1)
            first, second = (critic(next_input).squeeze(1) for critic in self.critics_target)
            target = reward + discount * torch.minimum(first, second)
        inputs = torch.cat([observation, action], 1)
        loss = sum(F.mse_loss(critic(inputs).squeeze(1), target) for critic in self.critics)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()

        self.updates += 1
        if self.updates % config.policy_delay:
            return
        self.critics[0].requires_grad_(False)
        loss = -self.critics[0](torch.cat([observation, self.actor(observation)], 1)).mean()
        self.actor_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.actor_optimiser.step()
        self.critics[0].requires_grad_(True)
        with torch.no_grad():
            for target, online in ((self.actor_target, self.actor), (self.critics_target, self.critics)):
                torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), config.target_rate)

    def state(self):
        parts = ("actor", "critics", "actor_target", "critics_target", "actor_optimiser", "critic_optimiser")
        return {part: getattr(self, part).state_dict() for part in parts} | {"updates": self.updates}

    def load(self, state):
        self.updates = state["updates"]
        for part in state.keys() - {"updates"}:
            getattr(self, part).load_state_dict(state[part])


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
            path = folder / f"{name}.npy"
            if path.exists():
                array = np.lib.format.open_memmap(path, mode="r+")
            else:
                dtype = np.float64 if name == "physics" else np.float32
                array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
            setattr(self, name, array)
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


def save_atomically(path, write):
    """Call ``write(temporary_path)``, then rename, so that a killed process never leaves half a file."""
    temporary = path.with_name(path.name + ".partial")
    write(temporary)
    os.replace(temporary, path)


def evaluate(actor, config, episodes, seed):
    """Raw returns (episodes,) of the deterministic policy, environments stepped together."""
    envs = [make_environment(config.environment, config.masses) for _ in range(episodes)]
    scale = envs[0].action_space.high
    observations = [env.reset(seed=seed + i)[0] for i, env in enumerate(envs)]
    returns, running = np.zeros(episodes), list(range(episodes))
    while running:
        with torch.no_grad():
            actions = actor(torch.from_numpy(np.stack([observations[i] for i in running]).astype(np.float32))).numpy()
        still = []
        for i, action in zip(running, actions, strict=True):
            observations[i], reward, terminal, timeout, _ = envs[i].step(action * scale)
            returns[i] += reward
            if not (terminal or timeout):
                still.append(i)
        running = still
    return returns


def train(config, folder, report=print):
    """Train for ``config.steps`` steps in ``folder``; goes on from its last checkpoint if there is one.

    Leaves ``evaluations.csv`` (steps, score, seconds), ``policies/<steps>.pt`` for every evaluation and the replay.
    An interrupted episode is not continued: its rows are dropped and a new episode starts there.
    """
    torch.set_num_threads(1)
    folder = Path(folder)
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
    env = make_environment(config.environment, config.masses)
    physics = env.unwrapped
    scale = env.action_space.high
    observation_width, action_width = env.observation_space.shape[0], env.action_space.shape[0]
    state_width = physics.model.nq + physics.model.nv
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    agent = Agent(observation_width, action_width, config)
    replay = Replay(folder / "replay", config.steps, observation_width, action_width, state_width)
    step, seconds, episode = 0, 0.0, 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        agent.load(saved["agent"])
        torch.set_rng_state(saved["torch"])
        rng.bit_generator.state = saved["numpy"]
        step, seconds, episode = saved["step"], saved["seconds"], saved["episode"]
        report(f"{config.environment}: going on at step {step}")

    observation, _ = env.reset(seed=config.seed * 1_000_003 + episode)
    began, episode_start, length, next_save = time.process_time(), step, 0, step + config.evaluate_every
    while step < config.steps:
        if step < config.random_steps:
            action = rng.uniform(-1, 1, action_width).astype(np.float32)
        else:
            with torch.no_grad():
                action = agent.actor(torch.from_numpy(observation.astype(np.float32))).numpy()
            action = action + rng.normal(0, config.exploration_noise, action_width).astype(np.float32)
            action = np.clip(action, -1, 1)
        state = np.concatenate([physics.data.qpos, physics.data.qvel])
        following, reward, terminal, _, _ = env.step(action * scale)
        length += 1
        timeout = length == MAX_EPISODE_STEPS
        replay.write(
            step,
            observations=observation,
            actions=action * scale,
            rewards=reward,
            next_observations=following,
            ends=2 if timeout else int(terminal),
            physics=state,
        )
        observation = following
        step += 1
        if step > config.random_steps:
            batch = replay.batch(rng.integers(0, step, config.batch_size), config.discount)
            batch = (batch[0], batch[1] / float(scale[0]), *batch[2:])
            agent.update(*batch, torch.randn(config.batch_size, action_width))
        if terminal or timeout:
            episode, length, episode_start = episode + 1, 0, step
            observation, _ = env.reset(seed=config.seed * 1_000_003 + episode)
            if step >= next_save:
                # Saved between episodes, so that the replay holds whole ones whatever happens.
                next_save = step + config.evaluate_every
                now = seconds + time.process_time() - began
                returns = evaluate(agent.actor, config, config.evaluation_episodes, seed=10_000)
                score = normalised_score(config.environment, returns).mean()
                torch.save(agent.actor.state_dict(), folder / "policies" / f"{step}.pt")
                replay.flush()
                saved = dict(agent=agent.state(), torch=torch.get_rng_state(), numpy=rng.bit_generator.state)
                saved |= dict(step=step, seconds=now, episode=episode)
                save_atomically(checkpoint, lambda path, saved=saved: torch.save(saved, path))
                with open(folder / "evaluations.csv", "a") as out:
                    out.write(f"{step},{score:.3f},{now:.1f},{returns.min():.1f},{returns.max():.1f}\n")
                report(f"{config.environment}: step {step}, score {score:.1f}, {now:.0f} s")
    return episode_start


if __name__ == "__main__":
    import sys

    train(TD3Config(environment=sys.argv[1], steps=int(sys.argv[2])), sys.argv[3])
