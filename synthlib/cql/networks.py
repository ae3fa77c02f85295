"""The two networks of the CQL experiments: a Q network that can also predict a vector, and a tanh-Gaussian policy.

Both are ReLU networks, in the paper with two hidden layers of width 256 (Tables 15 and 16). Their initial weights are
drawn in the order of the authors' code (faithfulness 5.1, 6.2), so a seed gives the same weights here as there.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LOG_STD_RANGE = (-20.0, 2.0)
HEAD_GAIN = 0.01


class QNetwork(nn.Module):
    """Q(s, a), with an optional second head that predicts a vector from the same features (pre-training, paper 4.1).

    ``trunk`` maps [s, a] to features, the last hidden layer after its ReLU. ``q_head`` maps the features to one value.
    ``prediction_head`` maps them to ``prediction_width`` values; it is None unless ``prediction_width`` is given.
    """

    def __init__(
        self,
        observation_width: int,
        action_width: int,
        hidden: Sequence[int] = (256, 256),
        prediction_width: int | None = None,
    ) -> None:
        super().__init__()
        self.trunk = _hidden_layers(observation_width + action_width, hidden)
        self.q_head = nn.Linear(hidden[-1], 1)
        self.prediction_head = nn.Linear(hidden[-1], prediction_width) if prediction_width else None
        # Redrawn only after both heads exist: this is the authors' order, and a seed's weights depend on the order.
        _redraw_small(self.q_head)
        if self.prediction_head is not None:
            _redraw_small(self.prediction_head)

    def features(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Features (..., hidden[-1]) of observations (..., S) and actions (..., A) with equal leading axes."""
        return self.trunk(torch.cat([observations, actions], dim=-1))

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q values (...) of observations (..., S) and actions (..., A)."""
        return self.q_head(self.features(observations, actions)).squeeze(-1)

    def predict(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Predicted vectors (..., prediction_width) of observations (..., S) and actions (..., A)."""
        assert self.prediction_head is not None, "made without prediction_width"
        return self.prediction_head(self.features(observations, actions))


class TanhGaussianPolicy(nn.Module):
    """a = tanh(u), u ~ N(mu(s), sigma(s)^2): a policy with actions in [-1, 1] and exact densities.

    The network gives [mu, l], and log sigma = clip(m l + c, -20, 2). The scalars m (``log_std_multiplier``) and c
    (``log_std_offset``) are trained, from m = 1 and c = -1.
    """

    def __init__(self, observation_width: int, action_width: int, hidden: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.trunk = _hidden_layers(observation_width, hidden)
        self.head = nn.Linear(hidden[-1], 2 * action_width)
        _redraw_small(self.head)
        self.log_std_multiplier = nn.Parameter(torch.tensor(1.0))
        self.log_std_offset = nn.Parameter(torch.tensor(-1.0))

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log standard deviation of u, each (..., A), for observations (..., S)."""
        mean, raw_log_std = self.head(self.trunk(observations)).chunk(2, dim=-1)
        log_std = self.log_std_multiplier * raw_log_std + self.log_std_offset
        return mean, log_std.clamp(*LOG_STD_RANGE)

    @torch.no_grad()
    def act(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions tanh(mu(s)) for the evaluation: float32 (n, A), for observations (n, S)."""
        like = self.head.weight
        mean, _ = self(torch.as_tensor(np.asarray(observations), dtype=like.dtype, device=like.device))
        return mean.tanh().float().cpu().numpy()

    def sample(self, observations: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions (..., A) and their log densities (...), from (..., S) and standard normal ``noise`` (..., A).

        Differentiable with respect to the weights (reparameterisation): u = mu + sigma * noise.
        """
        mean, log_std = self(observations)
        before_tanh = mean + log_std.exp() * noise
        return before_tanh.tanh(), log_density(noise, log_std, before_tanh)


def log_density(noise: torch.Tensor, log_std: torch.Tensor, before_tanh: torch.Tensor) -> torch.Tensor:
    """log pi(a|s) (...) of a = tanh(u), u = mu + sigma * noise; all arguments (..., A).

    log N(u; mu, sigma) - log |da/du|, with log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)). This is exact even where
    tanh(u) rounds to 1, because u is never computed from a.
    """
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    log_slope = 2 * (math.log(2) - before_tanh - F.softplus(-2 * before_tanh))
    return (gaussian - log_slope).sum(dim=-1)


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Context: networks made inside get their weights from ``seed``; torch's global generator does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@torch.no_grad()
def copy_weights(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], what: str) -> None:
    """Copy the tensors of ``given`` into the tensors of ``own`` (name -> tensor), in place.

    Raises ValueError unless names, shapes and dtypes are the same on both sides; its message begins with ``what``.
    """
    if own.keys() != given.keys():
        differing = ", ".join(sorted(own.keys() ^ given.keys()))
        raise ValueError(f"{what}: these weights are on one side only: {differing}. It was made with other networks")
    for name, tensor in given.items():
        if tensor.shape != own[name].shape or tensor.dtype != own[name].dtype:
            found, wanted = ((tuple(t.shape), str(t.dtype)) for t in (tensor, own[name]))
            raise ValueError(f"{what}: {name} is {found}, not {wanted}. It was made for other widths or another dtype")
    for name, tensor in given.items():
        own[name].copy_(tensor)


def _hidden_layers(inputs: int, hidden: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for outputs in hidden:
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers)


def _redraw_small(head: nn.Linear) -> None:
    nn.init.xavier_uniform_(head.weight, gain=HEAD_GAIN)
    nn.init.zeros_(head.bias)
