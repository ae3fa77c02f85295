"""Peers of ``make bench``: the same work, written in the style of the public reference codebases.

This style is plain autograd, one call per operation, and every loss as a Python number after every update. The classes
are written from the description of these programs in faithfulness.md, in the sections that are named below.
``tests/bench/test_reference_style.py`` shows that they compute the same as our versions. Nothing in the project trains
with them. Loops that draw data or play episodes are in :mod:`synthlib.bench.reference_loops`.
"""

import copy
import math
from typing import Self

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal, TanhTransform, TransformedDistribution
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

from synthlib.cql.agent import CQL, Noise, bellman_target
from synthlib.cql.networks import QNetwork
from synthlib.cql.pretraining import CriticPretraining
from synthlib.dt.finetuning import DTTrainingConfig
from synthlib.dt.model import GPT2_POSITIONS, DecisionTransformer, DTConfig
from synthlib.dt.windows import CONTEXT, Batch
from synthlib.offline.datasets import Transitions


class ReferenceCQL:
    """CQL with the update of faithfulness 6.3. It starts from the weights of a :class:`synthlib.cql.agent.CQL`.

    The policy network runs once for each sampled action. Each kind of actions goes through each Q network in a separate
    call, with repeated observations. Each of the three losses has its own Adam, and all logged values become Python
    numbers.
    """

    def __init__(self, agent: CQL) -> None:
        self.config, self.q_max, self.action_width = agent.config, agent.q_max, agent.action_width
        self.policy, self.log_alpha = copy.deepcopy(agent.policy), copy.deepcopy(agent.log_alpha)
        self.q1, self.q2 = copy.deepcopy(agent.q1), copy.deepcopy(agent.q2)
        self.target_q1, self.target_q2 = copy.deepcopy(agent.target_q1), copy.deepcopy(agent.target_q2)
        rates = agent.config
        critics = [*self.q1.parameters(), *self.q2.parameters()]
        self.policy_optimiser = torch.optim.Adam(self.policy.parameters(), lr=rates.policy_learning_rate)
        self.q_optimiser = torch.optim.Adam(critics, lr=rates.critic_learning_rate)
        self.alpha_optimiser = torch.optim.Adam([self.log_alpha], lr=rates.alpha_learning_rate)

    def update(self, batch: Transitions, noise: Noise) -> dict[str, float]:
        """One update, in place; returns the losses under the names of :meth:`synthlib.cql.agent.CQL.update`."""
        config, states = self.config, batch.observations
        action, log_pi = self._sample(states, noise.policy)
        alpha_loss = -(self.log_alpha * (log_pi - self.action_width).detach()).mean()
        alpha = self.log_alpha.exp()
        policy_loss = (alpha * log_pi - torch.min(self.q1(states, action), self.q2(states, action))).mean()

        q1_data, q2_data = self.q1(states, batch.actions), self.q2(states, batch.actions)
        next_action, _ = self._sample(batch.next_observations, noise.target)
        targets = (q(batch.next_observations, next_action) for q in (self.target_q1, self.target_q2))
        next_value = torch.min(*targets)
        y = bellman_target(batch, next_value, config, self.q_max).y.detach()
        td_1, td_2 = F.mse_loss(q1_data, y), F.mse_loss(q2_data, y)

        current, current_log_pi = self._sample_several(states, noise.current)
        following, following_log_pi = self._sample_several(batch.next_observations, noise.next)
        uniform_log_density = math.log(0.5**self.action_width)
        q1_uniform, q2_uniform = (self._several(q, states, noise.uniform) for q in (self.q1, self.q2))
        q1_current, q2_current = (self._several(q, states, current) for q in (self.q1, self.q2))
        q1_next, q2_next = (self._several(q, states, following) for q in (self.q1, self.q2))
        conservative = []
        for q_uniform, q_next, q_current, q_data in (
            (q1_uniform, q1_next, q1_current, q1_data),
            (q2_uniform, q2_next, q2_current, q2_data),
        ):
            all_q = torch.cat(
                [q_uniform - uniform_log_density, q_next - following_log_pi, q_current - current_log_pi], dim=1
            )
            soft_maximum = torch.logsumexp(all_q / config.temperature, dim=1) * config.temperature
            conservative.append((soft_maximum - q_data).mean() * config.conservative_weight)
        q_loss = td_1 + td_2 + conservative[0] + conservative[1]

        for optimiser, loss in (
            (self.alpha_optimiser, alpha_loss),
            (self.policy_optimiser, policy_loss),
            (self.q_optimiser, q_loss),
        ):
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        for slow, q in ((self.target_q1, self.q1), (self.target_q2, self.q2)):
            for old, new in zip(slow.parameters(), q.parameters(), strict=True):
                old.data = (1 - config.target_rate) * old.data + config.target_rate * new.data
        logged = {
            "alpha_loss": alpha_loss,
            "policy_loss": policy_loss,
            "qf_loss_total": q_loss,
            "qf1_loss": td_1,
            "qf2_loss": td_2,
            "cql_min_qf1_loss": conservative[0],
            "cql_min_qf2_loss": conservative[1],
            "alpha": alpha,
            "log_pi": log_pi.mean(),
            "average_qf1": q1_data.mean(),
            "average_qf2": q2_data.mean(),
            "average_target_q": next_value.mean(),
            "cql_q1_rand": q1_uniform.mean(),
            "cql_q2_rand": q2_uniform.mean(),
            "cql_q1_next_actions": q1_next.mean(),
            "cql_q2_next_actions": q2_next.mean(),
            "cql_q1_current_actions": q1_current.mean(),
            "cql_q2_current_actions": q2_current.mean(),
        }
        return {name: value.item() for name, value in logged.items()}

    @torch.no_grad()
    def act(self, observation: np.ndarray) -> np.ndarray:
        """The action (A,) without noise for one observation (S,). As in the reference, its density is computed too."""
        mean, log_std = self.policy(torch.tensor(observation[None], dtype=torch.float32))
        action = torch.tanh(mean)
        TransformedDistribution(Normal(mean, log_std.exp()), [TanhTransform(cache_size=1)]).log_prob(action).sum(dim=-1)
        return action.cpu().numpy()[0]

    def _sample(self, observations: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_std = self.policy(observations)
        normal, squash = Normal(mean, log_std.exp()), TanhTransform(cache_size=1)
        action = squash(mean + log_std.exp() * noise)
        return action, TransformedDistribution(normal, [squash]).log_prob(action).sum(dim=-1)

    def _sample_several(self, observations: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """N actions (B, N, A) per observation (B, S), and their log densities (B, N), both without gradient."""
        actions, log_pi = self._sample(observations.unsqueeze(1).repeat(1, noise.shape[1], 1), noise)
        return actions.detach(), log_pi.detach()

    def _several(self, q: QNetwork, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Q values (B, N) of observations (B, S) and actions (B, N, A), computed as one batch of B N pairs."""
        repeated = observations.unsqueeze(1).repeat(1, actions.shape[1], 1)
        return q(repeated.flatten(0, 1), actions.flatten(0, 1)).view(len(observations), -1)


class ReferenceCriticPretraining:
    """Critic pre-training as in faithfulness 5.2. It starts from the weights of a new :class:`CriticPretraining`."""

    def __init__(self, training: CriticPretraining) -> None:
        self.q1, self.q2 = copy.deepcopy(training.q1), copy.deepcopy(training.q2)
        for critic in (self.q1, self.q2):
            for weight in critic.parameters():
                weight.data, weight.grad = weight.data.clone(), None
        self.transitions, self.tables = training.transitions, (training.state_table, training.action_table)
        self.batch_size, self.device = training.config.batch_size, training.device
        weights = [*self.q1.parameters(), *self.q2.parameters()]
        self.optimiser = torch.optim.Adam(weights, lr=training.config.learning_rate)

    def update(self, generator: np.random.RandomState) -> tuple[float, float]:
        """One update on rows drawn by ``generator``; returns the losses of the two critics."""
        data, (state_table, action_table) = self.transitions, self.tables
        rows = generator.randint(len(data.observations), size=self.batch_size)
        states, wanted = state_table[data.observations[rows]], state_table[data.next_observations[rows]]
        parts = (states, action_table[data.actions[rows]], wanted)
        states, actions, wanted = (torch.from_numpy(part).to(self.device) for part in parts)
        first = F.mse_loss(self.q1.predict(states, actions), wanted)
        second = F.mse_loss(self.q2.predict(states, actions), wanted)
        self.optimiser.zero_grad()
        (first + second).backward()
        self.optimiser.step()
        return first.item(), second.item()


class ReferenceDT(nn.Module):
    """The published baseline of the Decision Transformer with Hugging Face's GPT-2 (faithfulness 3.1 to 3.3).

    ``attention`` is "eager", as in the reference of 2021, or "sdpa". All hidden states and the outputs of all three
    heads are computed.
    """

    def __init__(self, config: DTConfig, attention: str = "eager") -> None:
        super().__init__()
        self.config, width = config, config.width
        self.transformer = GPT2Model(
            GPT2Config(  # type: ignore[call-arg]  # it passes attn_implementation on to its base class
                vocab_size=1,
                n_positions=GPT2_POSITIONS,
                n_embd=width,
                n_layer=config.layers,
                n_head=config.heads,
                activation_function="relu",
                resid_pdrop=config.residual_dropout,
                attn_pdrop=config.attention_dropout,
                embd_pdrop=config.embedding_dropout,
                bos_token_id=None,
                eos_token_id=None,
                attn_implementation=attention,
            )
        )
        self.transformer.wpe.weight.data.zero_()  # only the time embedding encodes a token's position
        self.transformer.wpe.weight.requires_grad_(False)
        self.time_embedding = nn.Embedding(config.timesteps, width)
        self.embed_return, self.embed_ln = nn.Linear(1, width), nn.LayerNorm(width)
        self.embed_state = nn.Linear(config.observation_width, width)
        self.embed_action = nn.Linear(config.action_width, width)
        self.predict_state = nn.Linear(width, config.observation_width)
        self.predict_action = nn.Linear(width, config.action_width)
        self.predict_return = nn.Linear(width, 1)

    def load(self, model: DecisionTransformer) -> Self:
        """Copy the weights of ``model``; returns this model. Raises ValueError when the two models do not fit."""
        own = {}
        for name, weight in model.state_dict().items():
            own["transformer." + name if name.startswith(("h.", "ln_f.")) else name] = weight
        missing = self.load_state_dict(own, strict=False)
        if missing.unexpected_keys or set(missing.missing_keys) != {"transformer.wte.weight", "transformer.wpe.weight"}:
            raise ValueError(f"these weights are of another model: {missing}")
        return self

    def forward(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor,
        returns_to_go: torch.Tensor,
        timesteps: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Predicted actions, observations and returns, each (B, K, ...). Arguments: see ``DecisionTransformer``."""
        batch, steps = mask.shape
        parts = (self.embed_return(returns_to_go), self.embed_state(observations), self.embed_action(actions))
        time = self.time_embedding(timesteps)
        tokens = torch.stack(parts, dim=1).permute(0, 2, 1, 3).reshape(batch, 3 * steps, -1)
        times = torch.stack([time] * 3, dim=1).permute(0, 2, 1, 3).reshape(batch, 3 * steps, -1)
        visible = torch.stack([mask] * 3, dim=1).permute(0, 2, 1).reshape(batch, 3 * steps)
        tokens = self.embed_ln(tokens) + times
        hidden = self.transformer(inputs_embeds=tokens, attention_mask=visible, use_cache=False).last_hidden_state
        hidden = hidden.reshape(batch, steps, 3, -1).permute(0, 2, 1, 3)
        returns, states = self.predict_return(hidden[:, 2]), self.predict_state(hidden[:, 2])
        return torch.tanh(self.predict_action(hidden[:, 1])), states, returns

    def act(
        self, observations: torch.Tensor, actions: torch.Tensor, returns_to_go: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """The action (A,) for the last of T steps of one episode: tensors (T, O), (T, A), (T, 1) and (T,)."""
        missing = max(CONTEXT - len(observations), 0)
        parts = [part[-CONTEXT:] for part in (observations, actions, returns_to_go, timesteps)]
        parts.append(torch.ones(len(parts[0])))
        parts = [torch.cat([part.new_zeros(missing, *part.shape[1:]), part])[None] for part in parts]
        return self(*parts)[0][0, -1]


class ReferenceDTTraining:
    """The fine-tuning of a :class:`ReferenceDT` (faithfulness 3.7 to 3.9)."""

    def __init__(self, model: ReferenceDT, config: DTTrainingConfig) -> None:
        self.model, self.clip = model, config.gradient_clip
        self.device = model.embed_ln.weight.device
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(weights, config.learning_rate, weight_decay=config.weight_decay)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda update: min((update + 1) / config.warmup_updates, 1)
        )

    def update(self, batch: Batch) -> float:
        """One update, in place; returns the loss."""
        parts = (batch.observations, batch.actions, batch.returns_to_go[:, :-1], batch.timesteps, batch.mask)
        observations, actions, returns_to_go, timesteps, mask = (
            torch.from_numpy(part).to(self.device) for part in parts
        )
        predicted, _, _ = self.model(observations, actions, returns_to_go, timesteps, mask)
        real = mask.reshape(-1) > 0
        width = actions.shape[2]
        predicted, wanted = predicted.reshape(-1, width)[real], actions.clone().reshape(-1, width)[real]
        loss = torch.mean((predicted - wanted) ** 2)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            torch.mean((predicted - wanted) ** 2).item()  # logged as the action error
        return loss.item()
