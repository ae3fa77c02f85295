"""Pre-training of both critics on synthetic MDP data by forward dynamics (paper 4.1, Table 15; faithfulness section 5).

Each Q network gets a second head on its features. From the vectors of a state and an action, this head predicts the
vector of the next state. The Q heads, the policy and alpha are not trained here. CQL then starts from both critics.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from synthlib.cql.networks import QNetwork, copy_weights, initial_weights
from synthlib.generators import mdp
from synthlib.generators.mdp import (
    IndexTransitions,
    MDPConfig,
    generate,
    prediction_width,
    target_indices,
    targets,
    vectors,
)
from synthlib.generators.registry import Generated
from synthlib.kernels.adam import FusedAdam, flatten
from synthlib.machine.devices import CPU, put
from synthlib.runs.identity import versioned

LOG_EVERY = 100


@dataclass(frozen=True)
class CriticPretrainingConfig:
    """What to pre-train on and how; the defaults are from the paper's Table 15.

    The number of updates is not a setting. The learning rate is constant, so one run passes through all of the paper's
    checkpoints (1K, 10K, 40K, 100K, 500K, 1M).
    """

    observation_width: int
    action_width: int
    mdp: MDPConfig | Generated
    seed: int = 42
    """Seed of the initial weights. The batches do not depend on it (see :class:`CriticPretraining`)."""
    learning_rate: float = 3e-4
    batch_size: int = 256
    hidden: tuple[int, ...] = (256, 256)


def identity_of(config: CriticPretrainingConfig) -> dict[str, Any]:
    """The identity of a pre-training, fit for JSON; :func:`config_of` is its inverse."""
    version = mdp.VERSION if isinstance(config.mdp, MDPConfig) else 1
    return asdict(config) | {"mdp": asdict(config.mdp) | versioned(version)}


def config_of(identity: Mapping[str, Any]) -> CriticPretrainingConfig:
    """The configuration whose :func:`identity_of` is ``identity``."""
    fields = {name: value for name, value in identity["mdp"].items() if name != "version"}
    data = Generated(**fields) if fields["kind"] == "generated" else MDPConfig(**fields)
    return CriticPretrainingConfig(**{**identity, "mdp": data, "hidden": tuple(identity["hidden"])})


def predicted_width(config: CriticPretrainingConfig) -> int:
    """Width of the vector that the critics predict."""
    widths = config.observation_width, config.action_width
    return prediction_width(config.mdp, *widths) if isinstance(config.mdp, MDPConfig) else widths[0]


def data_in_words(data: MDPConfig | Generated) -> str:
    """A short description of the data, which tells the pre-trainings of a table apart."""
    return f"{data.kind}, {data.states} states" if isinstance(data, MDPConfig) else str(data)


def prediction_error(
    critic: QNetwork, states: torch.Tensor, actions: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Mean squared error () of a critic's predictions for (B, S) and (B, A), over batch and dimensions (B, P)."""
    return F.mse_loss(critic.predict(states, actions), wanted)


class CriticPretraining:
    """One pre-training run. It can stop after any update and go on bit for bit, also in another process.

    ``transitions`` is the data set if it exists already; None calls ``generate(config.mdp)``. ``tables`` are the
    vectors of states and actions where ``config.mdp`` is :class:`~synthlib.generators.registry.Generated`: the critics
    then predict the next state (:func:`synthlib.generators.drawn.transitions` returns both).

    Batches are drawn with replacement by NumPy's legacy generator, seeded with 0 and moved past the draws that make the
    tables of vectors. This is its state in the authors' development code for every ``seed`` (faithfulness 5.4). So all
    pre-trainings with equally large tables see the same rows in the same order.
    """

    def __init__(
        self,
        config: CriticPretrainingConfig,
        transitions: IndexTransitions | None = None,
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        tables: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self.config, self.device = config, device
        widths, predicted = (config.observation_width, config.action_width), predicted_width(config)
        self.batches = np.random.RandomState(0)
        if isinstance(config.mdp, MDPConfig):
            self.transitions = generate(config.mdp) if transitions is None else transitions
            self.state_table, self.action_table = vectors(config.mdp, *widths)
            self.batches.random_sample(self.state_table.size + self.action_table.size)
        else:
            assert transitions is not None and tables is not None, "generated data are made before the training"
            self.transitions, (self.state_table, self.action_table) = transitions, tables
        with initial_weights(config.seed):
            self.q1, self.q2 = (QNetwork(*widths, tuple(config.hidden), predicted).to(device, dtype) for _ in range(2))
        for critic in (self.q1, self.q2):
            critic.q_head.requires_grad_(False)
        self.trained = flatten(self.trained_weights())
        """All weights that are trained, those of q1 first; the networks' own are views of it."""
        self.optimiser = FusedAdam([{"params": [self.trained], "lr": config.learning_rate}])
        self.updates = 0
        self.losses: list[dict[str, Any]] = []
        """One row per LOG_EVERY updates: ``updates`` so far, mean ``qf1_loss`` and ``qf2_loss`` since the last row."""
        self._block = torch.zeros(2, dtype=torch.float64, device=device)

    def run(self, until: int, progress: Callable[[int], None] | None = None) -> None:
        """Train up to ``until`` updates in all; ``progress(updates)`` is called every LOG_EVERY updates.

        Raises ValueError when the run is already further, FloatingPointError when a loss is not finite.
        """
        if until < self.updates:
            raise ValueError(f"this run has made {self.updates} updates and cannot go back to {until}: start a new one")
        while self.updates < until:
            rows = self.batches.randint(len(self.transitions.observations), size=self.config.batch_size)
            self._block += self.update(*self.batch(rows))
            if self.updates % LOG_EVERY == 0:
                self._log()
                if progress is not None:
                    progress(self.updates)

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """State vectors (B, S), action vectors (B, A) and targets (B, P) of the transitions ``rows`` (B,)."""
        columns = (
            self.state_table[self.transitions.observations[rows]],
            self.action_table[self.transitions.actions[rows]],
            targets(self.state_table, self.action_table, self.target_indices(rows)),
        )
        states, actions, wanted = (column.to(self.trained.dtype) for column in put(self.device, *columns))
        return states, actions, wanted

    def target_indices(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """As :func:`synthlib.generators.mdp.target_indices`, for the transitions ``rows`` (B,)."""
        if isinstance(self.config.mdp, MDPConfig):
            return target_indices(self.config.mdp, self.transitions, rows)
        return (self.transitions.next_observations[rows],)

    def update(self, states: torch.Tensor, actions: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """One Adam step on both critics' mean squared errors, over batch and dimensions; returns both errors (2,)."""
        losses = torch.stack([prediction_error(q, states, actions, wanted) for q in (self.q1, self.q2)])
        assert self.trained.grad is not None  # flatten has made it
        self.trained.grad.zero_()  # in place: each weight's grad is a view of it
        losses.sum().backward()
        self.optimiser.step()
        self.updates += 1
        return losses.detach()

    def add(self, *losses: float) -> None:
        """Add the sums of both critics' ``losses`` of updates that are counted already. LOG_EVERY updates make a row.

        Raises FloatingPointError when the mean of a row is NaN or infinite.
        """
        self._block += self._block.new_tensor(losses)
        if self.updates % LOG_EVERY == 0:
            self._log()

    def critics(self) -> dict[str, dict[str, torch.Tensor]]:
        """Weights of both critics with all heads, for ``CQL(critics=...)``: {"q1": {name: tensor}, "q2": ...}.

        After zero updates these are the initial weights of ``seed``. The control arm "CQL, matched" starts from them.
        """
        return {
            name: {key: weight.detach().cpu().clone() for key, weight in critic.named_parameters()}
            for name, critic in (("q1", self.q1), ("q2", self.q2))
        }

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit, as numbers and tensors (``torch.load(weights_only=True)``)."""
        adam = self.optimiser.state[self.trained]
        stream = self.batches.get_state(legacy=False)["state"]
        return {
            "updates": self.updates,
            "weights": {name: weight.detach().clone() for name, weight in self._weights().items()},
            "first_moment": adam["exp_avg"].clone(),
            "second_moment": adam["exp_avg_sq"].clone(),
            "batches": {"key": torch.from_numpy(stream["key"].astype(np.int64)), "pos": stream["pos"]},
            "losses": [dict(row) for row in self.losses],
            "block": self._block.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises ValueError when ``state`` comes from a run with other networks."""
        copy_weights(self._weights(), state["weights"], "saved pre-training")
        adam = self.optimiser.state[self.trained]
        adam["exp_avg"].copy_(state["first_moment"])
        adam["exp_avg_sq"].copy_(state["second_moment"])
        adam["step"].fill_(state["updates"])
        key = state["batches"]["key"].numpy().astype(np.uint32)
        self.batches.set_state({"bit_generator": "MT19937", "state": {"key": key, "pos": state["batches"]["pos"]}})
        self.updates = state["updates"]
        self.losses = [dict(row) for row in state["losses"]]
        self._block.copy_(state["block"])

    def trained_weights(self) -> list[nn.Parameter]:
        """The weights in :attr:`trained`, in its order: all but those of the Q heads."""
        return [weight for q in (self.q1, self.q2) for weight in q.parameters() if weight.requires_grad]

    def _weights(self) -> dict[str, torch.Tensor]:
        critics = (("q1", self.q1), ("q2", self.q2))
        return {f"{q}.{name}": weight for q, critic in critics for name, weight in critic.named_parameters()}

    def _log(self) -> None:
        first, second = (self._block / LOG_EVERY).tolist()
        if not np.isfinite(first + second):
            raise FloatingPointError(f"losses {first}, {second} before update {self.updates}: lower the learning rate")
        self.losses.append({"updates": self.updates, "qf1_loss": first, "qf2_loss": second})
        self._block.zero_()
