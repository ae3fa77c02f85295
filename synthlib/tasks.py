"""The four robots and their data sets: names, widths, reference returns, scores. Needs no MuJoCo, no PyTorch.

Of a robot of the user's own (:mod:`synthlib.robots`) the same is known by its name, ``module:name``.
"""

import functools
import importlib.metadata
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from synthlib.robots import WithRobots, is_own, physics_of

ENVIRONMENTS = ("halfcheetah", "hopper", "walker2d", "ant")
# D4RL's tiers: the first three are the paper's, in the order of Table 1. Tables that print another order keep it.
TIERS = ("medium-expert", "medium-replay", "medium", "expert", "full-replay", "random")
D4RL_DATASETS = tuple(f"{environment}-{tier}" for tier in TIERS for environment in ENVIRONMENTS)
DATASETS = D4RL_DATASETS[:12]  # the paper's
GYMNASIUM_IDS = {
    "halfcheetah": "HalfCheetah-v4",
    "hopper": "Hopper-v4",
    "walker2d": "Walker2d-v4",
    "ant": "Ant-v4",
}
MAX_EPISODE_STEPS = 1000

# (observation, action) widths as in the D4RL files.
DIMENSIONS: WithRobots[tuple[int, int]] = WithRobots(
    {"halfcheetah": (17, 6), "hopper": (11, 3), "walker2d": (17, 6), "ant": (111, 8)},
    lambda robot: (robot.observation_width, robot.action_width),
)

# Raw returns that score 0 and 1 (paper Table 17 = d4rl.infos).
REFERENCE_RETURNS: WithRobots[tuple[float, float]] = WithRobots(
    {
        "halfcheetah": (-280.178953, 12135.0),
        "hopper": (-20.272305, 3234.3),
        "walker2d": (1.629008, 4592.3),
        "ant": (-325.6, 3879.7),
    },
    lambda robot: robot.reference_returns,
)

# Body masses: those of D4RL's time, those of today's MuJoCo, or the mixture that the embedded replica was made under
# (synthlib.offline.environments says why). A robot has the masses of one of the first two.
MASSES = ("d4rl", "stock", "replica")
REPLICA_MASSES = {"halfcheetah": "stock", "hopper": "d4rl", "walker2d": "d4rl", "ant": "stock"}


_OWN_NAME = re.compile(r"([A-Za-z_][\w.]*:[A-Za-z_]\w*)-([a-z0-9]+(?:-[a-z0-9]+)*)")
_OWN_TIER = re.compile(r"own(?:-[a-z0-9]+)*")


def parse_name(name: str) -> tuple[str, str]:
    """(environment, tier) of the name of a data set; ValueError for a name that cannot be one.

    The names are :data:`D4RL_DATASETS`, ``<robot>-own`` and ``<robot>-own-...`` for data of the user's own, and
    ``module:name-...`` for data of a robot of the user's own.
    """
    if own := _OWN_NAME.fullmatch(name):
        return own[1], own[2]
    environment, _, tier = name.partition("-")
    if environment not in ENVIRONMENTS or not (tier in TIERS or _OWN_TIER.fullmatch(tier)):
        raise ValueError(
            f"unknown data set {name!r}; a name is one of {', '.join(ENVIRONMENTS)}, then a hyphen, "
            f"then one of {', '.join(TIERS)}"
        )
    return environment, tier


def is_own_data(name: str) -> bool:
    """Whether a name is that of a data set of the user's own, which only ``DATA=path:folder`` can have."""
    try:
        environment, tier = parse_name(name)
    except ValueError:
        return False
    return is_own(environment) or tier not in TIERS


def in_data_order(names: Iterable[str]) -> list[str]:
    """Different names of data sets in the order of tables: D4RL's, then those of the user's own."""
    there = set(names)
    return [name for name in D4RL_DATASETS if name in there] + sorted(there - set(D4RL_DATASETS))


def environment_of(dataset: str) -> str:
    """The robot of a data set: "hopper" of "hopper-medium-replay"."""
    return parse_name(dataset)[0]


def normalised_score(environment: str, returns: npt.ArrayLike, reference: tuple[float, float] | None = None) -> Any:
    """D4RL score x 100 of raw ``returns`` (scalar or array): 100 (R - min) / (max - min), paper A.3.

    ``reference`` are (min, max) of the data set, if they are not those of the robot.
    """
    low, high = reference or REFERENCE_RETURNS[environment]
    return 100.0 * (np.asarray(returns, dtype=np.float64) - low) / (high - low)


def pad_observation(environment: str, observations: np.ndarray) -> np.ndarray:
    """Append the ant's 84 zero contact forces to the last axis: (..., 27) -> (..., 111); others unchanged.

    The ant of D4RL has 111 observations whose last 84 (contact forces) are always zero; the environment here has 27
    (faithfulness item 7.9).
    """
    width = DIMENSIONS[environment][0]
    missing = width - observations.shape[-1]
    if missing == 0:
        return observations
    if environment != "ant" or missing != 84:
        raise ValueError(f"{environment} observations have width {width}, not {observations.shape[-1]}")
    padding = np.zeros((*observations.shape[:-1], missing), dtype=observations.dtype)
    return np.concatenate([observations, padding], axis=-1)


def masses_of_robot(environment: str, masses: str) -> str:
    """The masses, "d4rl" or "stock", that a robot has under a name of :data:`MASSES`.

    A robot of the user's own has the masses "own". Raises ValueError for an unknown name.
    """
    if is_own(environment):
        return "own"
    if masses not in MASSES:
        raise ValueError(f"unknown mass set {masses!r}; known: {', '.join(MASSES)}")
    return REPLICA_MASSES[environment] if masses == "replica" else masses


def physics_version(environment: str, masses: str = "d4rl") -> dict[str, Any]:
    """What must be equal for two returns to be comparable; part of a run's identity.

    ``masses`` is what this robot weighs, whatever the name of the set. So the identities of runs on the replica, some
    of them published, are as they were before the set had a name of its own.
    """
    own = physics_of(environment) if is_own(environment) else {}
    return own | {
        "environment": environment if is_own(environment) else GYMNASIUM_IDS[environment],
        "masses": masses_of_robot(environment, masses),
        "gymnasium": _version("gymnasium"),
        "mujoco": _version("mujoco"),
    }


# A plan of the whole paper asks tens of thousands of times, and each answer reads a file.
_version = functools.cache(importlib.metadata.version)
