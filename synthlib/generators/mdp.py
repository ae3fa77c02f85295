"""Synthetic MDP data for pre-training the critics of CQL (paper 4.1, A.2, J; faithfulness section 4).

A transition is three indices: state, action, next state. Every index has a fixed random vector as wide as the
environment's observation or action, so one data set serves all environments.

A row is a distribution: softmax(u / temperature), with uniforms u from a generator seeded by the state (policy) or by
the state and the action (transitions). So no table of rows is stored. :func:`generate` is the definition, step by step;
:mod:`synthlib.generators.mdp_fast` gives the same integers in a hundredth of the time.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import NamedTuple, TypeVar

import numpy as np

VERSION = 1  # count up when the output changes: tests/generators/test_versions.py
KINDS = ("mdp", "iid", "identity", "mapping")
ROWS = ("authors", "independent")
_LARGEST_SEED = 2**32 - 1  # of NumPy's legacy generator
_LEGACY_GENERATOR = np.random.RandomState()
Indices = TypeVar("Indices", int, np.ndarray)  # one index, or an array of indices
_ONLY_MDP = {"policy_temperature": 1.0, "transition_temperature": 1.0, "random_start": False, "rows": "authors"}


@dataclass(frozen=True)
class MDPConfig:
    """What data set to make; the defaults are the paper's (4.2, Table 15). Fit for JSON as ``dataclasses.asdict``.

    Raises ValueError for a value out of range, and for a value that this kind of data would ignore.
    """

    kind: str = "mdp"  # mdp; iid (independent, uniform); identity, mapping (paper J, there states=3500)
    states: int = 100
    actions: int = None  # type: ignore[assignment]  # None becomes the number of states in __post_init__
    policy_temperature: float = 1.0  # infinity: uniform
    transition_temperature: float = 1.0
    trajectories: int = 1000
    length: int = 1000
    random_start: bool = False  # False, as executed: all trajectories start in one state (faithfulness 8, item 5)
    rows: str = "authors"  # pairs (s, a) with equal 8s + 7a share a row (8, item 6); "independent": each has its own
    # The authors did not seed iid, identity and mapping, so no seed gives their files (8, item 33); 0 is our choice.
    # The seed also seeds independent rows. The authors' MDP has no free seed.
    seed: int = 0

    def __post_init__(self) -> None:
        if self.actions is None:
            object.__setattr__(self, "actions", self.states)
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: {', '.join(KINDS)}")
        if self.rows not in ROWS:
            raise ValueError(f"unknown rows {self.rows!r}; known: {', '.join(ROWS)}")
        if not isinstance(self.random_start, bool):
            raise ValueError(f"random_start must be True or False, not {self.random_start!r}")
        for name, least in (("states", 1), ("actions", 1), ("trajectories", 1), ("length", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or not least <= int(value) <= _LARGEST_SEED:
                raise ValueError(f"{name} must be an integer from {least} to {_LARGEST_SEED}, not {value!r}")
            object.__setattr__(self, name, int(value))
        for name in ("policy_temperature", "transition_temperature"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool) or value <= 0 or math.isnan(value):
                raise ValueError(f"{name} must be a positive number (infinity is allowed), not {value!r}")
            object.__setattr__(self, name, float(value))
        if self.kind == "mdp":
            self._check_mdp()
        elif any(getattr(self, name) != value for name, value in _ONLY_MDP.items()):
            raise ValueError(f"temperatures, random_start and rows mean nothing for kind={self.kind!r}; leave them out")

    def _check_mdp(self) -> None:
        if self.rows == "authors" and self.seed != 0:
            raise ValueError(
                f"the authors' MDP has fixed seeds; leave seed={self.seed} out, or take rows='independent'"
            )
        if math.isinf(self.policy_temperature) and math.isinf(self.transition_temperature):
            raise ValueError("both temperatures are infinite: that data set is kind='iid'")
        largest = max(
            next_state_seed(self.trajectories - 1, self.length - 1),
            111 * transition_row(self, self.states - 1, self.actions - 1) if self.rows == "authors" else 0,
        )
        if largest > _LARGEST_SEED:
            raise ValueError(
                f"this size needs the seed {largest}, beyond the legacy generator's {_LARGEST_SEED}; "
                "take fewer states, actions, trajectories or steps"
            )


class IndexTransitions(NamedTuple):
    """Indices, each int64 (M,) with M = trajectories * length; one trajectory stands after the other."""

    observations: np.ndarray
    actions: np.ndarray
    next_observations: np.ndarray


def generate(config: MDPConfig) -> IndexTransitions:
    """The data set of ``config``; for kind "mdp" one step at a time, as the paper's A.2 describes it."""
    if config.kind != "mdp":
        return _generate_iid(config)
    observations, actions, next_observations = [], [], []
    for j, state in enumerate(start_states(config)):
        for t in range(config.length):
            action = _draw(action_seed(j, t), config.actions, policy_probabilities(config, state))
            next_state = _draw(next_state_seed(j, t), config.states, transition_probabilities(config, state, action))
            observations.append(state)
            actions.append(action)
            next_observations.append(next_state)
            state = next_state
    return IndexTransitions(*(np.array(x, dtype=np.int64) for x in (observations, actions, next_observations)))


def policy_probabilities(config: MDPConfig, state: int) -> np.ndarray | None:
    """pi(. | state), float32 of shape (A,), or None where the temperature is infinite (uniform)."""
    if math.isinf(config.policy_temperature):
        return None
    return softmax(policy_uniforms(config, state, config.actions), config.policy_temperature)


def transition_probabilities(config: MDPConfig, state: int, action: int) -> np.ndarray | None:
    """p(. | state, action), float32 of shape (S,), or None where the temperature is infinite (uniform)."""
    if math.isinf(config.transition_temperature):
        return None
    row = transition_row(config, state, action)
    return softmax(transition_uniforms(config, row, config.states), config.transition_temperature)


def softmax(uniforms: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(uniforms / temperature), float32, same shape.

    The authors round u / T to float32 and take a float32 softmax, whose last bits depend on the processor. Here the
    exponential and the sum are computed in float64 and then rounded, so that every processor gives the golden
    transitions.
    """
    logits = (uniforms / temperature).astype(np.float32)
    weights = np.exp((logits - logits.max()).astype(np.float64)).astype(np.float32)
    return weights * (1 / weights.sum(dtype=np.float64).astype(np.float32))


def policy_uniforms(config: MDPConfig, state: int, count: int) -> np.ndarray:
    """The first ``count`` uniforms of the row pi(. | state), float64; the authors seed them with the state (A.2)."""
    if config.rows == "independent":
        return np.random.default_rng([config.seed, 0, state]).random(count)
    return _seeded(state).random_sample(count)


def transition_row(config: MDPConfig, state: Indices, action: Indices) -> Indices:
    """Number of the transition row for (state, action); for arrays element by element.

    The authors seed a row with 888 s + 777 a, which is 111 times this number.
    """
    if config.rows == "independent":
        return state * config.actions + action
    return 8 * state + 7 * action


def transition_uniforms(config: MDPConfig, row: int, count: int) -> np.ndarray:
    """The first ``count`` uniforms of transition row number ``row``, float64."""
    if config.rows == "independent":
        return np.random.default_rng([config.seed, 1, *divmod(row, config.actions)]).random(count)
    return _seeded(111 * row).random_sample(count)


def start_states(config: MDPConfig) -> list[int]:
    """The first state of each trajectory."""
    if config.random_start:
        return [_seeded(j).randint(config.states) for j in range(config.trajectories)]
    # As executed: for every trajectory, the seed is the number of trajectories.
    return [_seeded(config.trajectories).randint(config.states)] * config.trajectories


def _seeded(seed: int) -> np.random.RandomState:
    """NumPy's legacy generator, freshly seeded. To seed it again is ten times as fast as to make a new object."""
    _LEGACY_GENERATOR.seed(seed)
    return _LEGACY_GENERATOR


def action_seed(trajectory: Indices, time: Indices) -> Indices:
    """Seed of the legacy generator that draws the action of a step; for arrays element by element."""
    return 42 + 1000 * trajectory + 333 * time


def next_state_seed(trajectory: Indices, time: Indices) -> Indices:
    """Seed of the legacy generator that draws the next state of a step; for arrays element by element."""
    return 666 + 1000 * trajectory + 333 * time


def _draw(seed: int, size: int, probabilities: np.ndarray | None) -> int:
    return _seeded(seed).choice(size, p=probabilities)


def _generate_iid(config: MDPConfig) -> IndexTransitions:
    """Uniform states in one long sequence, and uniform actions (faithfulness 4.5).

    The targets of identity and mapping ignore the next states.
    """
    generator = _seeded(config.seed)
    size = config.trajectories * config.length
    states = generator.randint(config.states, size=size)
    next_states = np.append(states[1:], generator.randint(config.states, size=1))
    return IndexTransitions(states, generator.randint(config.actions, size=size), next_states)


def vectors(config: MDPConfig, observation_width: int, action_width: int) -> tuple[np.ndarray, np.ndarray]:
    """The vectors of all states and actions: float32 tables with entries in [-1, 1) (faithfulness 4.6).

    Shapes (S, observation_width) and (A, action_width). Mapping has 2S and 2A rows; the second half of each table holds
    the targets.
    """
    copies = 2 if config.kind == "mapping" else 1
    generator = _seeded(0)
    state_table = 2 * generator.random_sample((copies * config.states, observation_width)) - 1
    action_table = 2 * generator.random_sample((copies * config.actions, action_width)) - 1
    return state_table.astype(np.float32), action_table.astype(np.float32)


def prediction_width(config: MDPConfig, observation_width: int, action_width: int) -> int:
    """Width of the vector that the critics predict: a state, or a state and an action (identity, mapping)."""
    return observation_width if config.kind in ("mdp", "iid") else observation_width + action_width


def target_indices(config: MDPConfig, transitions: IndexTransitions, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Whose vectors the critics must predict for the transitions ``rows``: a state, or a state and an action.

    They are rows of the tables of :func:`vectors`, each int64 (len(rows),). mdp, iid: the next state (paper 4.1).
    identity: the state and the action of the input, side by side. mapping: state s + S and action a + A, side by side
    (paper J; faithfulness 4.7, 4.8).
    """
    if config.kind in ("mdp", "iid"):
        return (transitions.next_observations[rows],)
    states, actions = transitions.observations[rows], transitions.actions[rows]
    if config.kind == "mapping":
        states, actions = states + config.states, actions + config.actions
    return states, actions


def targets(state_table: np.ndarray, action_table: np.ndarray, indices: tuple[np.ndarray, ...]) -> np.ndarray:
    """The vectors of :func:`target_indices`: float32 (B, prediction_width)."""
    parts = [table[of_table] for table, of_table in zip((state_table, action_table), indices, strict=False)]
    return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def distinct_transition_rows(states: int, actions: int) -> int:
    """How many different transition rows the authors' seeding gives: the number of values of 8s + 7a.

    With a = 8q + r, 8s + 7a = 8 (s + 7q) + 7r. Different remainders r give different values. So for each r, count the
    values of s + 7q.
    """
    counts = [len(range(remainder, actions, 8)) for remainder in range(min(actions, 8))]
    return sum(states + (count - 1) * min(states, 7) for count in counts)
