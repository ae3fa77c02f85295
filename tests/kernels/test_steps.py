"""Every kernel gives what its definition in PyTorch gives, and neither hides that something has diverged."""

import importlib
import inspect
from typing import NamedTuple

import pytest
import torch

from synthlib.cql.agent import CQL
from synthlib.cql.agent_fast import FastCQL
from synthlib.kernels import compiled, twins
from tests.common import largest_difference, noise_for, random_batch, small_agent

for source in compiled.SOURCES:  # the files of all compiled functions: their steps register themselves
    importlib.import_module(f"synthlib.{source.replace('/', '.')}")


class Arguments(NamedTuple):
    """What a step is given and where it writes to: shapes of tensors, or numbers."""

    given: list
    written: list


STATES, N, ACTIONS, HIDDEN = 7, 3, 5, 20
SLOTS = 3 * N + 2
SINGLE, SEVERAL, LAYER, OUTPUTS = (STATES, ACTIONS), (STATES, N, ACTIONS), (SLOTS * STATES, HIDDEN), 2 * ACTIONS
PER_STATE, PER_UNIT, DENSITIES, SCALAR, ONE = (STATES,), (HIDDEN,), (3 * N, STATES), (), (1,)
ARGUMENTS = {
    "back_through_relu_": Arguments([], [LAYER, LAYER, PER_UNIT]),
    "mean_squared_error_": Arguments([], [SINGLE, SINGLE, SCALAR]),
    "sample": Arguments(
        [(2 * STATES, OUTPUTS), SCALAR, SCALAR, SINGLE, SINGLE, SEVERAL, SEVERAL, SEVERAL, SINGLE],
        [(SLOTS, *SINGLE), DENSITIES, SINGLE, PER_STATE],
    ),
    "add_relu_": Arguments([], [LAYER, (STATES, HIDDEN)]),
    "learn_": Arguments(
        [],
        [LAYER, PER_UNIT, PER_UNIT, ONE, DENSITIES, PER_STATE, 5.0, 0.7, 3 * STATES, PER_STATE, (6,), PER_UNIT, ONE],
    ),
    "back_through_add_relu_": Arguments([LAYER, LAYER[0] - STATES], [LAYER, (STATES, HIDDEN)]),
    "give_head_": Arguments([(HIDDEN, 9), PER_UNIT, PER_UNIT], [(HIDDEN, 9), PER_UNIT, PER_UNIT]),
    "policy_gradient": Arguments(
        [(STATES, OUTPUTS), SCALAR, SCALAR, SINGLE, SINGLE, SCALAR, PER_STATE, SINGLE, PER_STATE, SINGLE],
        [(STATES, OUTPUTS), SCALAR, SCALAR],
    ),
}
STEPS = {step.__name__: step for step in twins.STEPS}
TENSORS = [
    (name, place)
    for name, arguments in ARGUMENTS.items()
    for place, one in enumerate([*arguments.given, *arguments.written])
    if isinstance(one, tuple)
]
# Noise is drawn, so it cannot diverge; where log sigma is clamped the kernel does not look at it.
NOISE_OF_THE_GRADIENT = ("policy_gradient", 3)


def arguments_of(name, dtype):
    """(given, written) to a step, tensors filled at random."""
    generator = torch.Generator().manual_seed(0)
    given, written = (
        [torch.randn(one, generator=generator, dtype=dtype) if isinstance(one, tuple) else one for one in part]
        for part in ARGUMENTS[name]
    )
    if name in ("sample", "policy_gradient"):
        given[0] *= 20  # so that log sigma reaches both ends of its range
    if name == "policy_gradient":
        given[8][:2] = given[6][:2]  # equal critics
    return given, written


def run(version, name, dtype, spoil=None):
    """All tensors that a step may write to, after it; ``spoil`` (argument, value) puts a value into one before."""
    given, written = arguments_of(name, dtype)
    if spoil:
        place, value = spoil
        [*given, *written][place].view(-1)[0] = value
    getattr(STEPS[name], version)(*given, *written)
    return [argument for argument in written if isinstance(argument, torch.Tensor)]


def test_every_step_with_a_kernel_is_tested():
    assert STEPS.keys() == ARGUMENTS.keys() and len(STEPS) == len(twins.STEPS)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_both_versions_have_the_same_arguments(name):
    signatures = [inspect.signature(version) for version in (STEPS[name].definition, STEPS[name].compiled)]
    assert list(signatures[0].parameters) == list(signatures[1].parameters)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_kernel_is_its_definition(name, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    if name == "sample":
        tolerance = max(tolerance, 1e-9)  # PyTorch's softplus leaves out a summand of exp(-20)
    for found, expected in zip(*(run(version, name, dtype) for version in ("compiled", "definition")), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("name", "place"), [one for one in TENSORS if one != NOISE_OF_THE_GRADIENT])
def test_nan_goes_the_same_ways(name, place, dtype):
    """Where a ReLU's output is NaN the gradient comes back as it is: a unit that has diverged is no dead one."""
    both = (run(version, name, dtype, spoil=(place, torch.nan)) for version in ("compiled", "definition"))
    tolerance = 1e-9 if dtype == torch.float64 else 1e-4
    for found, expected in zip(*both, strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(("name", "place"), [one for one in TENSORS if one != NOISE_OF_THE_GRADIENT])
def test_what_has_diverged_looks_healthy_in_both_versions_or_in_neither(name, place, bad):
    """Minus infinity below a ReLU is healthy, for example; what comes out of the others is not finite either."""
    compiled_is_finite, definition_is_finite = (
        all(tensor.isfinite().all() for tensor in run(version, name, torch.float32, spoil=(place, bad)))
        for version in ("compiled", "definition")
    )
    assert compiled_is_finite == definition_is_finite


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("name", "place"), [("sample", 0), ("add_relu_", 0), ("learn_", 0), ("learn_", 5)])
def test_what_has_diverged_does_not_look_healthy(name, place, bad):
    for version in ("compiled", "definition"):
        written = run(version, name, torch.float32, spoil=(place, bad))
        assert not all(tensor.isfinite().all() for tensor in written), version


def test_nan_in_the_deviation_is_not_clamped_away():
    for version in ("compiled", "definition"):
        given, written = arguments_of("sample", torch.float32)
        given[0][0, OUTPUTS - 1] = torch.nan
        getattr(STEPS["sample"], version)(*given, *written)
        assert written[0][:, 0].isnan().any(), version


def test_an_update_by_the_definitions_is_the_same(monkeypatch):
    """As on a GPU, where no kernel runs."""
    agents = [small_agent(kind, dtype=torch.float64) for kind in (CQL, FastCQL)]
    monkeypatch.setattr(twins, "READABLE_ONLY", True)
    for i in range(20):
        batch, noise = random_batch(seed=i, dtype=torch.float64), noise_for(agents[0], seed=i, dtype=torch.float64)
        ours, theirs = (agent.update(batch, noise) for agent in agents)
        assert max(abs(float(ours[name] - theirs[name])) for name in ours) < 1e-10
    assert largest_difference(*agents, "weights") < 1e-10
