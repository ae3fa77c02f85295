"""The CQL update in JAX, compiled as a whole by XLA: a peer of ``make bench``.

It is written in the style of today's JAX codebases: pure functions of dictionaries of arrays, and one ``jit`` around
noise, gradients, Adam and target networks. In a column of agents, ``vmap`` maps it and the minibatches over agents.
JAX is no dependency: ``make bench-peers`` installs it into its own folder, with ``DEVICE=cuda`` for that GPU.
"""

import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch

from synthlib.bench.peer_d3rlpy import FOLDER
from synthlib.cql.agent import CQL
from synthlib.cql.networks import LOG_STD_RANGE
from synthlib.machine.devices import chosen, reduced_precision
from synthlib.offline.datasets import CQLData, Transitions

Updates = tuple[Callable[[], None], Callable[[], object]]
"""A function that asks for one update, and a function that waits until all updates are made."""


def is_there() -> bool:
    """Whether ``make bench-peers`` has been run."""
    return (FOLDER / "jax").is_dir()


def missing(device: torch.device) -> str:
    """Why JAX does not run on ``device``, in a sentence; "" where it does."""
    if not is_there():
        return "JAX is left out: `make bench-peers` fetches it."
    try:
        _place(device)
    except RuntimeError as error:
        why = str(error).partition("\n")[0]
        return f"JAX is left out, as it sees no GPU here ({why}): `make bench-peers DEVICE=cuda` fetches what it needs."
    return ""


def cql_updates(agent: CQL, batch: Transitions, device: torch.device) -> Updates:
    """Updates of the agent's CQL on ``batch``, with their noise."""
    columns = tuple(np.asarray(column) for column in batch)
    return _updates(cql_state(agent), _jax().random.PRNGKey(0), *_step(agent, columns, device), device)


def cql_column_updates(agents: Sequence[CQL], data: CQLData, size: int, device: torch.device) -> Updates:
    """Updates of agents with equal configurations together, with noise and minibatches of ``size`` from ``data``."""
    jax = _jax()
    step, table = _step(agents[0], data.batch(np.arange(len(data.rows))), device, size)
    states = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *map(cql_state, agents))
    keys = jax.random.split(jax.random.PRNGKey(0), len(agents))
    return _updates(states, keys, jax.vmap(step, in_axes=(0, 0, None)), table, device)


def _step(
    agent: CQL, columns: Sequence[np.ndarray], device: torch.device, size: int | None = None
) -> tuple[Callable[..., Any], Any]:
    """(step, the columns on the device). ``step(state, key, columns)`` returns the state, the key and the losses.

    A minibatch has ``size`` transitions, drawn with replacement; None: it is all of them.
    """
    jax = _jax()
    update, draw = cql_update(agent)

    def step(state, key, columns):
        key, for_rows, for_noise = jax.random.split(key, 3)
        if size is not None:
            rows = jax.random.randint(for_rows, (size,), 0, len(columns[0]))
            columns = tuple(column[rows] for column in columns)
        state, losses = update(state, columns, draw(for_noise, len(columns[0])))
        return state, key, losses

    return step, jax.device_put(tuple(map(np.asarray, columns)), _place(device))


def _updates(state: Any, key: Any, step: Callable[..., Any], columns: Any, device: torch.device) -> Updates:
    jax = _jax()
    compiled = jax.jit(step)
    state, key = jax.device_put((state, key), _place(device))
    losses: Any = {}

    def run() -> None:
        nonlocal state, key, losses
        state, key, losses = compiled(state, key, columns)

    return run, lambda: jax.block_until_ready(losses)


def cql_state(agent: CQL) -> dict[str, Any]:
    """The agent's weights as arrays, and Adam's moments, all 0: {"weights", "first", "second", "updates"}."""
    jnp = _jax().numpy
    weights = {name: jnp.asarray(weight.detach().cpu().numpy()) for name, weight in agent.weights().items()}
    moments = {name: jnp.zeros_like(weight) for name, weight in weights.items() if not name.startswith("target_")}
    return {"weights": weights, "first": moments, "second": moments, "updates": jnp.zeros((), int)}


def cql_update(agent: CQL) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(update, draw): two pure functions, to be compiled, for the agent's sizes and configuration.

    ``update(state, batch, noise)`` returns (state, losses). The batch, the noise and the names of the losses are as in
    :meth:`synthlib.cql.agent.CQL.update`. ``draw(key, size)`` returns the noise for ``size`` transitions.
    """
    jax = _jax()
    jnp = jax.numpy
    config, q_max, action_width = agent.config, agent.q_max, agent.action_width

    def network(weights, name, head, x):
        for layer in (f"{name}.trunk.0", f"{name}.trunk.2", f"{name}.{head}"):
            x = x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
            x = x if layer.endswith(head) else jax.nn.relu(x)
        return x

    def q(weights, name, states, actions):
        return network(weights, name, "q_head", jnp.concatenate([states, actions], axis=-1))[..., 0]

    def sample(weights, states, noise):
        mean, raw = jnp.split(network(weights, "policy", "head", states), 2, axis=-1)
        log_std = weights["policy.log_std_multiplier"] * raw + weights["policy.log_std_offset"]
        log_std = jnp.clip(log_std, *LOG_STD_RANGE)
        before_tanh = mean + jnp.exp(log_std) * noise
        gaussian = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
        log_slope = 2 * (jnp.log(2.0) - before_tanh - jax.nn.softplus(-2 * before_tanh))
        return jnp.tanh(before_tanh), (gaussian - log_slope).sum(-1)

    def repeat(states):
        return jnp.broadcast_to(states[:, None], (len(states), config.sampled_actions, states.shape[1]))

    def objectives(trained, targets, batch, noise):
        """The sum of the three losses; stop_gradient makes each loss a function of its own weights only."""
        states, actions, rewards, next_states, terminals = batch
        weights, held = trained | targets, jax.lax.stop_gradient(trained)
        action, log_pi = sample(weights, states, noise[0])
        alpha_loss = -(weights["log_alpha"] * (jax.lax.stop_gradient(log_pi) - action_width)).mean()
        value = jnp.minimum(q(held, "q1", states, action), q(held, "q2", states, action))
        policy_loss = (jnp.exp(held["log_alpha"]) * log_pi - value).mean()
        next_action, _ = sample(held, next_states, noise[1])
        next_value = jnp.minimum(*(q(targets, name, next_states, next_action) for name in ("target_q1", "target_q2")))
        y = rewards + config.discount * (1 - terminals) * jnp.minimum(next_value, q_max)
        following, following_log_pi = sample(held, repeat(next_states), noise[4])
        current, current_log_pi = sample(held, repeat(states), noise[3])
        sampled = jnp.concatenate([noise[2], following, current], axis=1)
        uniform = jnp.full_like(current_log_pi, action_width * jnp.log(0.5))
        densities = jnp.concatenate([uniform, following_log_pi, current_log_pi], axis=1)
        repeated = jnp.broadcast_to(states[:, None], (*sampled.shape[:2], states.shape[1]))
        q_loss = 0.0
        for name in ("q1", "q2"):
            q_data, q_sampled = q(weights, name, states, actions), q(weights, name, repeated, sampled)
            soft = jax.nn.logsumexp((q_sampled - densities) / config.temperature, axis=1) * config.temperature
            q_loss += ((q_data - y) ** 2).mean() + config.conservative_weight * (soft - q_data).mean()
        losses = {"alpha_loss": alpha_loss, "policy_loss": policy_loss, "qf_loss_total": q_loss}
        return alpha_loss + policy_loss + q_loss, losses

    def rate(name):
        own = {"log_alpha": config.alpha_learning_rate, "policy": config.policy_learning_rate}
        return own.get(name.split(".")[0], config.critic_learning_rate)

    def update(state, batch, noise):
        weights, updates = state["weights"], state["updates"] + 1
        targets = {name: weight for name, weight in weights.items() if name.startswith("target_")}
        trained = {name: weight for name, weight in weights.items() if name not in targets}
        gradients, losses = jax.grad(objectives, has_aux=True)(trained, targets, batch, noise)
        first = {name: 0.9 * state["first"][name] + 0.1 * g for name, g in gradients.items()}
        second = {name: 0.999 * state["second"][name] + 0.001 * g**2 for name, g in gradients.items()}
        for name, weight in trained.items():
            scale = jnp.sqrt(second[name] / (1 - 0.999**updates)) + 1e-8
            trained[name] = weight - rate(name) * first[name] / (1 - 0.9**updates) / scale
        for name, slow in targets.items():
            targets[name] = slow + config.target_rate * (trained[name.removeprefix("target_")] - slow)
        return {"weights": trained | targets, "first": first, "second": second, "updates": updates}, losses

    def draw(key, size):
        keys, single = jax.random.split(key, 5), (size, action_width)
        several = (size, config.sampled_actions, action_width)
        policy, target = (jax.random.normal(k, single) for k in keys[:2])
        uniform = jax.random.uniform(keys[2], several, minval=-1, maxval=1)
        current, following = (jax.random.normal(k, several) for k in keys[3:])
        return policy, target, uniform, current, following

    return update, draw


def _place(device: torch.device) -> Any:
    """JAX's object of ``device``. Raises RuntimeError where JAX does not see it."""
    return _jax().devices(device.type)[device.index or 0]


def _jax() -> ModuleType:
    if str(FOLDER) not in sys.path:
        sys.path.append(str(FOLDER))  # at the end: packages that are installed here come first
    if "jax" not in sys.modules:
        # On a GPU, JAX would take most of the memory when it starts. The processor is there beside the GPU.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("JAX_PLATFORMS", "cuda,cpu" if chosen().type == "cuda" else "cpu")
        # One thread, as for all contestants. XLA reads this variable when it starts.
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    import jax

    # On a GPU, JAX's default for float32 is TF32.
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if reduced_precision() else "float32")
    return jax
