"""Conservative Q-learning (CQL) as the paper fine-tunes with it: the readable version.

One update takes a minibatch (s, a, r, s', d) of the data set, and noise that is passed in. It trains:

    alpha    the entropy temperature of the policy       (alpha_loss)
    pi       a tanh-Gaussian policy                      (policy_loss)
    Q1, Q2   two Q networks, TD plus conservative loss   (td_target, td_loss, conservative_loss)
    Q1-, Q2- slow copies of Q1, Q2 for the TD target     (update_targets)

The docstring of each method has its equation. Sources: paper A.2 and Table 16; faithfulness section 6 for what the
authors' programs really did. `cql/agent_fast.py` computes the same update in less time.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from synthlib.cql.batches import Batch, Noise, check_shapes
from synthlib.cql.networks import QNetwork, TanhGaussianPolicy, copy_weights, initial_weights
from synthlib.kernels.adam import FusedAdam, start_moments
from synthlib.machine.devices import CPU

NETWORKS = ("policy", "q1", "q2", "target_q1", "target_q2")
SAFE_Q = ("next_value", "target", "off")


@dataclass(frozen=True)
class CQLConfig:
    """Hyperparameters of CQL; the defaults are from the paper's Table 16.

    Table 16's switches that are "False" (max target backup, entropy in the Q target, Lagrange, Q difference clip) have
    no field. Its multiplier 1 of alpha has no field either. Importance sampling ("True") is always on. The target
    entropy is always -1 times the action width. The minibatch size (Table 16: 256) is a setting of the job instead.
    """

    sampled_actions: int = 3
    """N: actions per source (uniform, pi(s'), pi(s)) in the conservative loss; the codebase's own default is 10."""
    discount: float = 0.99
    policy_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    alpha_learning_rate: float = 3e-4
    """Not in Table 16; the authors' code has 3e-4 for all three (faithfulness 6.3)."""
    conservative_weight: float = 5.0
    """Table 16's "Min Q weight"."""
    temperature: float = 1.0
    """T of the logsumexp in the conservative loss."""
    target_rate: float = 0.005
    """Share of the new critics in the target networks after each update."""
    safe_q: str = "next_value"
    """The value that Qmax caps: "next_value" caps min Q-(s', a') before the Bellman backup, as the authors' code does;
    "target" caps y itself, as the paper's A.2 says; "off" caps nothing."""
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # params/ has lists only
        if self.safe_q not in SAFE_Q:
            raise ValueError(f"safe_q is {self.safe_q!r}; choose one of {', '.join(SAFE_Q)}")
        if self.sampled_actions < 1:
            raise ValueError(f"sampled_actions is {self.sampled_actions}; at least 1 is needed")
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}; it must be positive")


class Target(NamedTuple):
    """The TD target of a minibatch, and what safe-Q did to it."""

    y: torch.Tensor  # (B,)
    next_value: torch.Tensor  # (B,) min(Q1-, Q2-)(s', a'), uncapped
    above_cap: torch.Tensor  # () share of the values above Qmax: of y before its cap for "target", else of next_value

    def losses(self) -> dict[str, torch.Tensor]:
        """What :meth:`CQL.update` returns of the target, as scalars."""
        return {
            "average_target_q": self.next_value.mean(),
            "largest_target_q": self.next_value.amax(),
            "above_cap": self.above_cap,
        }


class SampledActions(NamedTuple):
    """The 3N actions per state of the conservative loss, in the order uniform, pi(s'), pi(s)."""

    actions: torch.Tensor  # (B, 3N, A)
    log_densities: torch.Tensor  # (B, 3N), of the distribution that each action came from


class CQL:
    """The agent: networks, target networks, entropy temperature and Adam moments.

    ``q_max`` is the cap of safe-Q, 100 times the data set's largest reward (paper A.2); ``inf`` caps nothing.
    ``critics`` are pre-trained critics from ``CriticPretraining.critics()``, or None for critics drawn from ``seed``.
    ``seed`` determines the initial weights only; all other randomness is passed to each update. Raises ValueError when
    ``q_max`` is NaN or ``critics`` have other shapes.

    The untrained Q head of pre-trained critics is copied too. So all seeds of a pre-trained arm start from the same Q
    functions, while the seeds of the baseline start from different Q functions (faithfulness 5.6).
    """

    def __init__(
        self,
        observation_width: int,
        action_width: int,
        config: CQLConfig,
        *,
        q_max: float,
        critics: dict[str, dict[str, torch.Tensor]] | None = None,
        seed: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device = CPU,
    ) -> None:
        if math.isnan(q_max):
            raise ValueError("q_max is NaN; it is 100 times the largest reward, so look for NaN among the rewards")
        self.config, self.q_max = config, float(q_max)
        self.observation_width, self.action_width = observation_width, action_width
        with initial_weights(seed):
            self.policy = TanhGaussianPolicy(observation_width, action_width, config.hidden).to(device, dtype)
            self.q1 = QNetwork(observation_width, action_width, config.hidden).to(device, dtype)
            self.q2 = QNetwork(observation_width, action_width, config.hidden).to(device, dtype)
        if critics is not None:
            for name in ("q1", "q2"):
                # The prediction head is left out: it has no part in Q and would get no gradient.
                kept = {
                    k: weight.to(dtype) for k, weight in critics[name].items() if not k.startswith("prediction_head")
                }
                copy_weights(dict(getattr(self, name).named_parameters()), kept, f"pre-trained critic {name}")
        self.target_q1 = copy.deepcopy(self.q1).requires_grad_(False)
        self.target_q2 = copy.deepcopy(self.q2).requires_grad_(False)
        self.log_alpha = torch.zeros((), dtype=dtype, device=device, requires_grad=True)
        self.updates = 0
        self._make_optimiser()

    def update(self, batch: Batch, noise: Noise) -> dict[str, torch.Tensor]:
        """One update in place; returns its losses as detached scalars, all computed with the weights before the update.

        The names are from the authors' logs: ``qf_loss_total`` is the "combined loss" of the paper's Figure 2,
        ``cql_min_qf{i}_loss`` the weighted conservative loss, ``cql_q{i}_rand | next_actions | current_actions`` the
        mean Q of the three kinds of sampled actions. Two are ours: ``largest_target_q`` is the largest uncapped value
        of a next state, and ``above_cap`` the share of the values above Qmax, which safe-Q caps (or would cap: "off").

        Raises ValueError when a shape in ``batch`` or ``noise`` is wrong.
        """
        objectives, losses = self.objectives(batch, noise)
        self._step(*objectives)
        self.update_targets()
        self.updates += 1
        return losses

    def objectives(self, batch: Batch, noise: Noise) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """The losses to minimise (alpha, policy, Q), as scalars; and all losses of :meth:`update` by name."""
        check_shapes(batch, noise, self.observation_width, self.action_width, self.config.sampled_actions)
        action, log_pi = self.policy.sample(batch.observations, noise.policy)
        alpha_loss = self.alpha_loss(log_pi)
        policy_loss = self.policy_loss(batch.observations, action, log_pi)
        target = self.td_target(batch, noise.target)
        td_1, q_data_1 = self.td_loss(self.q1, batch, target.y)
        td_2, q_data_2 = self.td_loss(self.q2, batch, target.y)
        sampled = self.sample_actions(batch, noise)
        conservative_1, q_sampled_1 = self.conservative_loss(self.q1, batch.observations, sampled, q_data_1)
        conservative_2, q_sampled_2 = self.conservative_loss(self.q2, batch.observations, sampled, q_data_2)
        q_loss = td_1 + td_2 + conservative_1 + conservative_2

        losses = {
            "alpha_loss": alpha_loss,
            "policy_loss": policy_loss,
            "qf_loss_total": q_loss,
            "qf1_loss": td_1,
            "qf2_loss": td_2,
            "cql_min_qf1_loss": conservative_1,
            "cql_min_qf2_loss": conservative_2,
            "alpha": self.log_alpha.exp(),
            "log_pi": log_pi.mean(),
            "average_qf1": q_data_1.mean(),
            "average_qf2": q_data_2.mean(),
            **target.losses(),
            **_mean_q_per_source(1, q_sampled_1),
            **_mean_q_per_source(2, q_sampled_2),
        }
        return (alpha_loss, policy_loss, q_loss), {name: value.detach() for name, value in losses.items()}

    def alpha_loss(self, log_pi: torch.Tensor) -> torch.Tensor:
        """-mean( log alpha * (log pi(a|s) + H) ) with target entropy H = -A; log pi is a constant here.

        The factor is log alpha, not alpha, as in the authors' code (faithfulness 6.3 step 1).
        """
        target_entropy = -self.action_width
        return -(self.log_alpha * (log_pi.detach() + target_entropy)).mean()

    def policy_loss(self, observations: torch.Tensor, action: torch.Tensor, log_pi: torch.Tensor) -> torch.Tensor:
        """mean( alpha log pi(a|s) - min(Q1, Q2)(s, a) ), a ~ pi(s); alpha is a constant here."""
        alpha = self.log_alpha.exp().detach()
        q = torch.minimum(self.q1(observations, action), self.q2(observations, action))
        return (alpha * log_pi - q).mean()

    @torch.no_grad()
    def td_target(self, batch: Batch, noise: torch.Tensor) -> Target:
        """y = r + gamma (1 - d) min(Q1-, Q2-)(s', a'), a' ~ pi(s'), with safe-Q; no entropy term (Table 16).

        The paper caps y at Qmax. The authors' code caps min Q- before it enters y, so its y may reach r + gamma Qmax
        (faithfulness 8, row 12). The authors' code made the paper's numbers, so its cap is the default here.
        """
        next_action, _ = self.policy.sample(batch.next_observations, noise)
        next_value = torch.minimum(
            self.target_q1(batch.next_observations, next_action), self.target_q2(batch.next_observations, next_action)
        )
        return bellman_target(batch, next_value, self.config, self.q_max)

    def td_loss(self, q: QNetwork, batch: Batch, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """mean (Q(s, a) - y)^2 over the data's actions, without a factor 1/2. Returns the loss and Q(s, a) (B,)."""
        q_data = q(batch.observations, batch.actions)
        return (q_data - y).square().mean(), q_data

    @torch.no_grad()
    def sample_actions(self, batch: Batch, noise: Noise) -> SampledActions:
        """For each state N uniform actions, N from pi(s') and N from pi(s), with log densities; all are constants."""
        n = self.config.sampled_actions
        next_actions, next_log_pi = self.policy.sample(_repeat(batch.next_observations, n), noise.next)
        current_actions, current_log_pi = self.policy.sample(_repeat(batch.observations, n), noise.current)
        uniform_log_density = torch.full_like(next_log_pi, self.action_width * math.log(0.5))
        return SampledActions(
            torch.cat([noise.uniform, next_actions, current_actions], dim=1),
            torch.cat([uniform_log_density, next_log_pi, current_log_pi], dim=1),
        )

    def conservative_loss(
        self, q: QNetwork, observations: torch.Tensor, sampled: SampledActions, q_data: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """w mean( T log sum_k exp( (Q(s, a_k) - log density(a_k)) / T ) - Q(s, a) ).

        It pushes Q down at the sampled actions, and up at the data's action. All 3N sampled actions are evaluated at s,
        also the actions from pi(s'). The data's action is not among them. The sum is not divided by 3N
        (faithfulness 6.3 step 5). Returns the loss and Q(s, a_k) (B, 3N).
        """
        q_sampled = q(_repeat(observations, sampled.actions.shape[1]), sampled.actions)
        temperature = self.config.temperature
        soft_maximum = temperature * torch.logsumexp((q_sampled - sampled.log_densities) / temperature, dim=1)
        return self.config.conservative_weight * (soft_maximum - q_data).mean(), q_sampled

    @torch.no_grad()
    def update_targets(self) -> None:
        """Q- <- (1 - rate) Q- + rate Q, with the new Q."""
        for target, q in ((self.target_q1, self.q1), (self.target_q2, self.q2)):
            for slow, new in zip(target.parameters(), q.parameters(), strict=True):
                slow.lerp_(new, self.config.target_rate)

    def act(self, observations: np.ndarray) -> np.ndarray:
        """Deterministic actions (n, A) for the evaluation (:meth:`TanhGaussianPolicy.act`), for observations (n, S)."""
        return self.policy.act(observations)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit, as ints and tensors (``torch.load(weights_only=True)``).

        :class:`CQL` and ``FastCQL`` have the same state dict: each can go on from the other's.
        """
        return {
            "updates": self.updates,
            "weights": {name: weight.detach().cpu().clone() for name, weight in self.weights().items()},
            "first_moments": {name: state["exp_avg"].cpu().clone() for name, state in self.moments.items()},
            "second_moments": {name: state["exp_avg_sq"].cpu().clone() for name, state in self.moments.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises ValueError when a weight is missing or has another shape or dtype."""
        copy_weights(self.weights(), state["weights"], "saved agent")
        for saved, key in (("first_moments", "exp_avg"), ("second_moments", "exp_avg_sq")):
            copy_weights({name: adam[key] for name, adam in self.moments.items()}, state[saved], f"saved {saved}")
        self.updates = state["updates"]
        for adam in self.moments.values():
            adam["step"].fill_(self.updates)

    def _make_optimiser(self) -> None:
        """Make ``optimiser``, and ``moments``: {name of a trained weight: its Adam state}.

        ``FastCQL`` gives Adam flattened tensors; its ``moments`` still have one entry per weight.
        """
        rates = self.config
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        self.optimiser: torch.optim.Adam | FusedAdam = torch.optim.Adam(
            [
                {"params": [self.log_alpha], "lr": rates.alpha_learning_rate},
                {"params": list(self.policy.parameters()), "lr": rates.policy_learning_rate},
                {"params": critics, "lr": rates.critic_learning_rate},
            ]
        )
        start_moments(self.optimiser)
        trained = {name: weight for name, weight in self.weights().items() if weight.requires_grad}
        self.moments: dict[str, dict[str, torch.Tensor]] = {
            name: self.optimiser.state[weight] for name, weight in trained.items()
        }

    def _step(self, alpha_loss: torch.Tensor, policy_loss: torch.Tensor, q_loss: torch.Tensor) -> None:
        """One Adam step. Each loss changes only its own weights: the policy loss changes neither Q nor alpha."""
        for loss, group in zip((alpha_loss, policy_loss, q_loss), self.optimiser.param_groups, strict=True):
            gradients = torch.autograd.grad(loss, group["params"])
            for weight, gradient in zip(group["params"], gradients, strict=True):
                weight.grad = gradient
        self.optimiser.step()

    def weights(self) -> dict[str, torch.Tensor]:
        """All weights by name: "log_alpha", "policy.trunk.0.weight", "q1...", "target_q1..."."""
        weights = {"log_alpha": self.log_alpha}
        for network in NETWORKS:
            for name, weight in getattr(self, network).named_parameters():
                weights[f"{network}.{name}"] = weight
        return weights


def bellman_target(batch: Batch, next_value: torch.Tensor, config: CQLConfig, q_max: float | torch.Tensor) -> Target:
    """The target from the uncapped value (B,) of s'. ``config.safe_q`` says what ``q_max`` caps."""
    kept = next_value.clamp(max=q_max) if config.safe_q == "next_value" else next_value
    y = batch.rewards + config.discount * (1 - batch.terminals) * kept
    above_cap = ((y if config.safe_q == "target" else next_value) > q_max).to(y.dtype).mean()
    return Target(y.clamp(max=q_max) if config.safe_q == "target" else y, next_value, above_cap)


def check_finite(losses: Mapping[str, float | torch.Tensor]) -> None:
    """Raises FloatingPointError when one of ``losses`` (name -> scalar) is NaN or infinite; names the first one."""
    for name, value in losses.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {float(value)}: training has diverged, or the data hold NaN. Check the data set's "
                'observations, rewards and q_max; if safe_q is "off" take the default, or lower the learning rates.'
            )


def _mean_q_per_source(i: int, q_sampled: torch.Tensor) -> dict[str, torch.Tensor]:
    rand, next_actions, current = q_sampled.chunk(3, dim=1)
    return {
        f"cql_q{i}_rand": rand.mean(),
        f"cql_q{i}_next_actions": next_actions.mean(),
        f"cql_q{i}_current_actions": current.mean(),
    }


def _repeat(observations: torch.Tensor, times: int) -> torch.Tensor:
    """(B, S) -> (B, times, S)."""
    return observations.unsqueeze(1).expand(-1, times, -1)
