"""Robots of one's own: any environment of gymnasium's interface, registered by a decorator.

    # my_robots.py, anywhere on the Python path
    import gymnasium
    from synthlib.robots import robot

    @robot(observation_width=4, action_width=1, reference_returns=(0.0, 1000.0))
    def cart(**options):
        return gymnasium.make("InvertedPendulum-v5", **options)

``my_robots:cart-NAME`` is then the name of a data set of this robot; its file is ``cart_NAME.hdf5`` in the folder of
``DATA=path:folder``. Observations and actions are vectors, actions in [-1, 1]. An episode ends where the environment
says so, and after 1,000 steps at the latest. The source of the function's module is part of a run's identity, so an
edited robot makes new runs; with ``version=1`` the version takes its place, and it is up to the author to count up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from synthlib.own_code import code_of, imported

Value = TypeVar("Value")


@dataclass(frozen=True)
class Robot:
    """A registered function that makes the environment; it can be called as before."""

    make: Callable[..., Any]
    """``options`` such as ``render_mode`` are for gymnasium."""
    observation_width: int
    action_width: int
    reference_returns: tuple[float, float]
    """The raw returns that score 0 and 100."""
    target_return: float
    """The raw return that a Decision Transformer is asked for."""
    version: int | None = None

    def __call__(self, **options: Any) -> Any:
        return self.make(**options)


def robot(
    *,
    observation_width: int,
    action_width: int,
    reference_returns: tuple[float, float],
    target_return: float | None = None,
    version: int | None = None,
) -> Callable[[Callable[..., Any]], Robot]:
    """Decorator: register a function that makes an environment.

    ``target_return`` is the higher reference return unless it is given. ValueError for widths or returns that cannot
    be.
    """
    if min(observation_width, action_width) < 1:
        raise ValueError(f"widths must be at least 1, not {observation_width} and {action_width}")
    low, high = check_returns(reference_returns)
    wanted = high if target_return is None else float(target_return)
    return lambda make: Robot(make, observation_width, action_width, (low, high), wanted, version)


def check_returns(given: Any) -> tuple[float, float]:
    """Two reference returns, the lower first. Raises ValueError, in one sentence, for anything else."""
    numbers = isinstance(given, list | tuple) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in given
    )
    if not numbers or len(given) != 2 or not given[0] < given[1] < float("inf") or given[0] == float("-inf"):
        raise ValueError(f"reference_returns must be two numbers, the return that scores 0 and a higher one: {given!r}")
    return float(given[0]), float(given[1])


def is_own(environment: str) -> bool:
    """Whether a robot is one of the user's own: ``module:name``."""
    return ":" in environment


def find_robot(environment: str) -> Robot:
    """The robot ``module:name``. Raises ValueError, in one sentence, when there is none."""
    place, _, name = environment.partition(":")
    module = imported(place)
    found = getattr(module, name, None)
    if isinstance(found, Robot):
        return found
    if callable(found):
        raise ValueError(f"{environment} is not registered: put @robot(...) above its definition")
    known = ", ".join(other for other, one in vars(module).items() if isinstance(one, Robot))
    raise ValueError(f"{place} has no robot {name!r}; {f'its robots: {known}' if known else 'and no robot at all'}")


def physics_of(environment: str) -> dict[str, Any]:
    """What stands for the robot's code in the identity of a run."""
    found = find_robot(environment)
    return code_of(environment, found.make, found.version)


class WithRobots(dict[str, Value]):
    """A fact of each of the four robots, and of every robot of the user's own."""

    def __init__(self, known: dict[str, Value], of_robot: Callable[[Robot], Value]) -> None:
        super().__init__(known)
        self._of_robot = of_robot

    def __missing__(self, environment: str) -> Value:
        if not is_own(environment):
            raise KeyError(environment)
        return self._of_robot(find_robot(environment))
