"""Peers of ``make bench``, second part: loops that draw data and play episodes one step at a time.

The public reference programs work in this way. The loops are written from the description of these programs in
faithfulness.md, in the sections that are named below. ``tests/bench/test_reference_style.py`` shows that their results
are equal to ours.
"""

import random
from collections.abc import Callable, Sequence

import gymnasium
import numpy as np
import torch
from scipy.special import softmax

from synthlib.bench.reference_style import ReferenceDT
from synthlib.dt.windows import (
    ACTION_PADDING,
    CONTEXT,
    DONE_PADDING,
    RETURN_SCALE,
    Batch,
    SequenceData,
)
from synthlib.generators.markov_chain import ChainConfig, initial_distribution
from synthlib.generators.mdp import IndexTransitions, MDPConfig
from synthlib.tasks import MAX_EPISODE_STEPS, pad_observation


def chain_tokens(
    config: ChainConfig, iteration: int, worker: int, workers: int, sequences: int, positions: int
) -> np.ndarray:
    """Tokens (sequences, positions), equal to :func:`synthlib.generators.markov_chain.authors_block`.

    Each row of the transition matrix comes from a new generator (faithfulness 1.2 to 1.4).
    """
    tokens: list[np.ndarray] = []
    for t in range(positions):
        generator = np.random.default_rng(config.seed + iteration * config.length * workers + workers * t + worker)
        if t == 0:
            tokens.append(generator.choice(config.states, size=sequences, p=initial_distribution(config)))
            continue
        rows = []
        for i in range(sequences):
            context = [int(column[i]) + 1 + config.seed for column in tokens[-config.order :]]
            uniforms = np.random.default_rng(context).random(config.states)
            rows.append(softmax(uniforms / config.temperature))
        tokens.append(generator.multinomial(1, np.array(rows)).argmax(axis=1))
    return np.stack(tokens, axis=1)


def mdp_transitions(config: MDPConfig, trajectories: int, length: int) -> IndexTransitions:
    """The first ``length`` steps of the first ``trajectories`` of ``mdp.generate(config)`` (faithfulness 4.2)."""
    assert config.actions is not None, "MDPConfig sets its actions to its states when they are not given"
    observations, actions, next_observations = [], [], []
    for j in range(trajectories):
        np.random.seed(config.trajectories)
        state = np.random.randint(config.states)
        for t in range(length):
            policy = _row(state, config.actions, config.policy_temperature)
            np.random.seed(42 + 1000 * j + 333 * t)
            action = np.random.choice(config.actions, p=policy)
            transition = _row(888 * state + 777 * action, config.states, config.transition_temperature)
            np.random.seed(666 + 1000 * j + 333 * t)
            next_state = np.random.choice(config.states, p=transition)
            observations.append(state)
            actions.append(action)
            next_observations.append(next_state)
            state = next_state
    return IndexTransitions(*(np.array(column) for column in (observations, actions, next_observations)))


def _row(seed: int, width: int, temperature: float) -> np.ndarray:
    np.random.seed(seed)
    uniforms = np.random.rand(width)
    return torch.softmax(torch.tensor(uniforms / temperature, dtype=torch.float32), dim=0).numpy()


def window_batch(data: SequenceData, rows: Sequence[int], starts: Sequence[int]) -> Batch:
    """As :class:`synthlib.dt.windows.BatchBuilder`, but a loop to the episode's end sums the returns of each window."""
    lists: list[list[np.ndarray]] = [[] for _ in Batch._fields]
    for row, start in zip(rows, starts, strict=True):
        trajectory = data.trajectories[row]
        observations = np.asarray(trajectory.observations[start : start + CONTEXT]).astype(np.float64)
        steps, width = observations.shape
        missing = CONTEXT - steps
        remaining = _summed_from_the_end(trajectory.rewards[start:])[: steps + 1].reshape(-1, 1)
        if len(remaining) <= steps:
            remaining = np.concatenate([remaining, np.zeros((1, 1))])
        actions = trajectory.actions[start : start + CONTEXT]
        timesteps = np.arange(start, start + steps)
        timesteps[timesteps > MAX_EPISODE_STEPS - 1] = MAX_EPISODE_STEPS - 1
        observations = np.concatenate([np.zeros((missing, width)), observations])
        parts = (
            (observations - data.mean) / data.std,
            np.concatenate([np.ones((missing, actions.shape[1])) * ACTION_PADDING, actions]),
            np.concatenate([np.zeros((missing, 1)), trajectory.rewards[start : start + CONTEXT].reshape(-1, 1)]),
            np.concatenate([np.ones(missing) * DONE_PADDING, trajectory.terminals[start : start + CONTEXT]]),
            np.concatenate([np.zeros((missing, 1)), remaining]) / RETURN_SCALE,
            np.concatenate([np.zeros(missing), timesteps]),
            np.concatenate([np.zeros(missing), np.ones(steps)]),
        )
        for column, part in zip(lists, parts, strict=True):
            column.append(part[None])
    kinds = {"dones": np.int64, "timesteps": np.int64}
    return Batch(
        *(
            np.concatenate(column).astype(kinds.get(name, np.float32))
            for name, column in zip(Batch._fields, lists, strict=True)
        )
    )


def draw_windows(data: SequenceData, size: int) -> tuple[list[int], list[int]]:
    """Trajectories and start steps of ``size`` windows, drawn by the two global generators (faithfulness 3.11)."""
    slots = np.random.choice(len(data.drawable), size=size, replace=True, p=data.probabilities)
    rows = [int(data.drawable[slot]) for slot in slots]
    return rows, [random.randint(0, len(data.trajectories[row].rewards) - 1) for row in rows]


def _summed_from_the_end(rewards: np.ndarray) -> np.ndarray:
    sums = np.zeros_like(rewards)
    sums[-1] = rewards[-1]
    for step in reversed(range(len(rewards) - 1)):
        sums[step] = rewards[step] + sums[step + 1]
    return sums


def policy_returns(
    act: Callable[[np.ndarray], np.ndarray],
    name: str,
    envs: Sequence[gymnasium.Env],
    seed: int,
    max_steps: int = MAX_EPISODE_STEPS,
) -> np.ndarray:
    """Raw returns (len(envs),) of one episode in each of the ``envs``, one after the other.

    ``act`` maps one observation (S,) to one action (A,), as :meth:`synthlib.bench.reference_style.ReferenceCQL.act`.
    ``name`` is the name of the environment.
    """
    returns = []
    for i, env in enumerate(envs):
        observation, total = env.reset(seed=seed + i)[0], 0.0
        for _ in range(max_steps):
            observation, reward, terminal, _, _ = env.step(act(pad_observation(name, observation)))
            total += float(reward)
            if terminal:
                break
        returns.append(total)
    return np.array(returns)


def transformer_return(
    model: ReferenceDT,
    env: gymnasium.Env,
    mean: np.ndarray,
    std: np.ndarray,
    target_return: float,
    seed: int,
    max_steps: int = MAX_EPISODE_STEPS,
) -> float:
    """Raw return of one episode of a Decision Transformer (faithfulness 3.14).

    ``mean`` and ``std`` (O,) are the statistics of the training data; ``target_return`` is raw. As in the reference,
    the complete history is kept, in tensors that grow by one row per step.
    """
    shift, scale = torch.from_numpy(mean), torch.from_numpy(std)
    width = model.config.action_width
    observations = torch.from_numpy(env.reset(seed=seed)[0])[None].float()
    actions, rewards = torch.zeros(0, width), torch.zeros(0)
    target, timesteps = torch.full((1, 1), target_return / RETURN_SCALE), torch.zeros(1, dtype=torch.long)
    for step in range(max_steps):
        actions, rewards = torch.cat([actions, torch.zeros(1, width)]), torch.cat([rewards, torch.zeros(1)])
        with torch.no_grad():
            actions[-1] = model.act((observations - shift) / scale, actions, target, timesteps)
        observation, raw_reward, terminal, _, _ = env.step(actions[-1].cpu().numpy())
        reward = float(raw_reward)
        observations = torch.cat([observations, torch.from_numpy(observation)[None].float()])
        rewards[-1] = reward
        target = torch.cat([target, target[-1:] - reward / RETURN_SCALE])
        timesteps = torch.cat([timesteps, torch.full((1,), min(step + 1, MAX_EPISODE_STEPS - 1))])
        if terminal:
            break
    return float(rewards.sum())
