"""What networks and losses do where no setting says it: found with small networks of a given configuration.

Table 16 has lines such as "Lagrange: False" or "Importance sampling: True", for which :mod:`synthlib.cql.agent` has no
field. Each function here asks the readable code itself: it changes one thing and looks at what changes with it.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import kstest
from torch import nn

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.dt.finetuning import DTTrainingConfig, optimisers
from synthlib.dt.model import DecisionTransformer, DTConfig, FeedForward
from synthlib.generators.mdp import IndexTransitions, MDPConfig
from synthlib.kernels.adam import FusedAdam
from synthlib.offline.datasets import Transitions

_WIDTHS = (5, 3)  # observation and action: any robot would do
_SIZE = 16  # transitions in a batch


def nonlinearity(config: DTConfig) -> str:
    """The activation function between the two layers of a block: "ReLU", or how it differs from a ReLU."""
    layer = FeedForward(config)
    with torch.no_grad():
        layer.c_fc.weight.zero_()
        layer.c_proj.weight.fill_(1 / len(layer.c_proj.weight))
        answers = []
        for value in (-1.0, 2.0):  # what every hidden unit gets
            layer.c_fc.bias.fill_(value)
            answers.append(round(float(layer(torch.zeros(1, config.width)).mean()), 3))
    return "ReLU" if answers == [0.0, 2.0] else f"f(-1) = {answers[0]}, f(2) = {answers[1]}"


def decayed(model: DTConfig, training: DTTrainingConfig) -> tuple[float, float]:
    """The weight decay of the GPT-2 part of a Decision Transformer, and of its other parameters."""
    network = DecisionTransformer(model, seed=0)
    decay = {
        id(weight): group["weight_decay"]
        for optimiser, _ in optimisers(network, training)
        for group in optimiser.param_groups
        for weight in group["params"]
    }
    backbone = {id(weight) for weight in network.backbone().values()}
    (of_backbone,) = {decay[weight] for weight in backbone}
    (of_others,) = {decay[id(weight)] for weight in network.parameters() if id(weight) not in backbone}
    return of_backbone, of_others


def layers(trunk: Iterable[nn.Module]) -> tuple[list[int], set[str]]:
    """Widths of a network's hidden layers, and the names of its activation functions."""
    modules = list(trunk)
    widths = [module.out_features for module in modules if isinstance(module, nn.Linear)]
    return widths, {type(module).__name__ for module in modules if not isinstance(module, nn.Linear)}


def name_of(optimiser: torch.optim.Optimizer | FusedAdam) -> str:
    """The name of an optimiser: Adam, AdamW where it has a weight decay, else the name of its class."""
    name = type(optimiser).__name__
    if "Adam" not in name:
        return name
    return "AdamW" if any(group["weight_decay"] for group in optimiser.param_groups) else "Adam"


def critic_training(config: CriticPretrainingConfig) -> CriticPretraining:
    """A critic pre-training of ``config`` on a few transitions, before its first update."""
    generator = np.random.default_rng(0)
    assert isinstance(config.mdp, MDPConfig), "the paper's pre-training"
    highest = config.mdp.states, config.mdp.actions, config.mdp.states
    few = IndexTransitions(*(generator.integers(size, size=_SIZE) for size in highest))
    return CriticPretraining(config, transitions=few)


def criterion(training: CriticPretraining) -> str:
    """Whether the losses of an update are mean squared errors: "MSE" or "not MSE"; makes one update."""
    states, actions, wanted = training.batch(np.arange(_SIZE))
    with torch.no_grad():
        errors = [(q.predict(states, actions) - wanted).square().mean() for q in (training.q1, training.q2)]
    losses = training.update(states, actions, wanted)
    return "MSE" if torch.allclose(losses, torch.stack(errors)) else "not MSE"


def distribution(entries: np.ndarray) -> str:
    """The distribution of ``entries``: "Uniform(-1, 1)" where a test does not tell them from a uniform distribution."""
    low, high = (round(float(end)) for end in (entries.min(), entries.max()))
    uniform = kstest(entries.ravel(), "uniform", (low, high - low)).pvalue > 0.01
    return f"Uniform({low}, {high})" if uniform else f"from {low} to {high}, not uniform"


def agent(config: CQLConfig) -> CQL:
    """An agent of ``config`` with few observations and actions, before its first update."""
    return CQL(*_WIDTHS, config, q_max=math.inf, seed=0)


def switches(config: CQLConfig) -> dict[str, str]:
    """The lines of Table 16 for which ``config`` has no field."""
    probe = agent(replace(config, conservative_weight=1.0))
    return {
        "Max target backup": str(not _one_action_decides_the_target(probe)),
        "Target entropy": f"{_target_entropy(probe) / probe.action_width:g} * Action Dim",
        "Entropy in Q target": str(_alpha_changes_the_target(probe)),
        "Policy update alpha multiplier": str(_alpha_multiplier(probe)),
        "Lagrange": str({name.partition(".")[0] for name in probe.moments} != {"log_alpha", "policy", "q1", "q2"}),
        "Q difference clip": str(_rise(probe, q_data=-1000.0) < 999),
        "Importance sampling": str(_rise(probe, log_densities=-1.0) > 0.99),
    }


def _batch() -> Transitions[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    states, actions = (torch.randn(_SIZE, width, generator=generator) for width in _WIDTHS)
    return Transitions(states, actions.tanh(), torch.zeros(_SIZE), states.flip(0), torch.zeros(_SIZE))


def _noise(agent: CQL) -> Noise:
    return draw_noise(torch.Generator().manual_seed(0), _SIZE, agent.action_width, agent.config.sampled_actions)


@torch.no_grad()
def _one_action_decides_the_target(agent: CQL) -> bool:
    """Whether the value in the TD target is the value of one action of pi(s'), and no maximum over several."""
    batch, noise = _batch(), _noise(agent)
    value = agent.td_target(batch, noise.target).next_value
    action, _ = agent.policy.sample(batch.next_observations, noise.target)
    values = [q(batch.next_observations, action) for q in (agent.target_q1, agent.target_q2)]
    return torch.allclose(value, torch.minimum(*values))


@torch.no_grad()
def _target_entropy(agent: CQL) -> float:
    """H of the loss -mean( log alpha (log pi + H) ): what is left of it at log alpha = 1 and log pi = 0."""
    agent.log_alpha.fill_(1.0)
    return -float(agent.alpha_loss(torch.zeros(_SIZE)))


@torch.no_grad()
def _alpha_changes_the_target(agent: CQL) -> bool:
    targets = []
    for log_alpha in (0.0, 1.0):
        agent.log_alpha.fill_(log_alpha)
        targets.append(agent.td_target(_batch(), _noise(agent).target).y)
    return not torch.equal(*targets)


@torch.no_grad()
def _alpha_multiplier(agent: CQL) -> float:
    """How many times alpha the policy loss rises where log pi rises by 1."""
    agent.log_alpha.fill_(1.0)
    batch = _batch()
    before, after = (agent.policy_loss(batch.observations, batch.actions, torch.full((_SIZE,), x)) for x in (0.0, 1.0))
    return round(float((after - before) / agent.log_alpha.exp()), 3)


@torch.no_grad()
def _rise(agent: CQL, q_data: float = 0.0, log_densities: float = 0.0) -> float:
    """By how much the conservative loss rises where Q of the data, or the log densities, change by so much."""
    batch = _batch()
    sampled = agent.sample_actions(batch, _noise(agent))
    changed = sampled._replace(log_densities=sampled.log_densities + log_densities)
    of_data = agent.q1(batch.observations, batch.actions)
    before, _ = agent.conservative_loss(agent.q1, batch.observations, sampled, of_data)
    after, _ = agent.conservative_loss(agent.q1, batch.observations, changed, of_data + q_data)
    return float(after - before)
