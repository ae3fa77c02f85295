"""The compiled steps of a CQL update give what PyTorch's give, and neither hides that something has diverged."""

import inspect

import pytest
import torch

from synthlib.cql import steps as cql_steps
from synthlib.cql import steps_fast as cql_steps_compiled
from synthlib.cql.agent import CQL
from synthlib.cql.agent_fast import FastCQL
from tests.common import largest_difference, noise_for, random_batch, small_agent

STATES, N, ACTIONS, HIDDEN = 7, 3, 5, 20
SLOTS = 3 * N + 2
SINGLE, SEVERAL, LAYER, OUTPUTS = (STATES, ACTIONS), (STATES, N, ACTIONS), (SLOTS * STATES, HIDDEN), 2 * ACTIONS
OF_STATES, OF_UNITS, DENSITIES, SCALAR, ONE = (STATES,), (HIDDEN,), (3 * N, STATES), (), (1,)
# What each step is given and where it writes to: shapes of tensors, or numbers.
ARGUMENTS = {
    "sample": (
        [(2 * STATES, OUTPUTS), SCALAR, SCALAR, SINGLE, SINGLE, SEVERAL, SEVERAL, SEVERAL, SINGLE],
        [(SLOTS, *SINGLE), DENSITIES, SINGLE, OF_STATES],
    ),
    "add_relu_": ([], [LAYER, (STATES, HIDDEN)]),
    "learn_": (
        [],
        [LAYER, OF_UNITS, OF_UNITS, ONE, DENSITIES, OF_STATES, 5.0, 0.7, 3 * STATES, OF_STATES, (6,), OF_UNITS, ONE],
    ),
    "back_through_add_relu_": ([LAYER, LAYER[0] - STATES], [LAYER, (STATES, HIDDEN)]),
    "give_head_": ([(HIDDEN, 9), OF_UNITS, OF_UNITS], [(HIDDEN, 9), OF_UNITS, OF_UNITS]),
    "policy_gradient": (
        [(STATES, OUTPUTS), SCALAR, SCALAR, SINGLE, SINGLE, SCALAR, OF_STATES, SINGLE, OF_STATES, SINGLE],
        [(STATES, OUTPUTS), SCALAR, SCALAR],
    ),
}


def arguments_of(step, dtype):
    """(given, written) to ``step``, tensors filled at random."""
    generator = torch.Generator().manual_seed(0)
    given, written = (
        [torch.randn(one, generator=generator, dtype=dtype) if isinstance(one, tuple) else one for one in part]
        for part in ARGUMENTS[step]
    )
    if step in ("sample", "policy_gradient"):
        given[0] *= 20  # so that log sigma reaches both ends of its range
    if step == "policy_gradient":
        given[8][:2] = given[6][:2]  # equal critics
    return given, written


def run(module, step, dtype, spoil=None):
    """All tensors that ``step`` may write to, after it; ``spoil`` (argument, value) puts a value into one before."""
    given, written = arguments_of(step, dtype)
    if spoil:
        place, value = spoil
        [*given, *written][place].view(-1)[0] = value
    getattr(module, step)(*given, *written)
    return [argument for argument in written if isinstance(argument, torch.Tensor)]


def test_both_modules_have_the_same_steps():
    found = {name for name, thing in vars(cql_steps).items() if getattr(thing, "__module__", "") == cql_steps.__name__}
    assert found == ARGUMENTS.keys()
    for step in found:
        both = [inspect.signature(getattr(module, step)) for module in (cql_steps, cql_steps_compiled)]
        assert both[0] == both[1]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("step", ARGUMENTS)
def test_steps_are_equal(step, dtype):
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    if step == "sample":
        tolerance = max(tolerance, 1e-9)  # PyTorch's softplus leaves out a summand of exp(-20)
    for found, expected in zip(*(run(m, step, dtype) for m in (cql_steps_compiled, cql_steps)), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("step", "argument"), [("sample", 0), ("add_relu_", 0), ("learn_", 0), ("learn_", 5)])
def test_what_has_diverged_does_not_look_healthy(step, argument, bad):
    for module in (cql_steps, cql_steps_compiled):
        written = run(module, step, torch.float32, spoil=(argument, bad))
        assert not all(tensor.isfinite().all() for tensor in written), module


@pytest.mark.parametrize(
    ("step", "arguments"),
    [("add_relu_", (0, 1)), ("back_through_add_relu_", (0, 2)), ("give_head_", (0, 3)), ("policy_gradient", (0, 6, 7))],
)
def test_nan_goes_the_same_ways(step, arguments):
    """Where a ReLU's output is NaN the gradient comes back as it is: a unit that has diverged is no dead one."""
    for spoil in ((argument, torch.nan) for argument in arguments):
        both = (run(module, step, torch.float64, spoil) for module in (cql_steps_compiled, cql_steps))
        for found, expected in zip(*both, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_nan_in_the_deviation_is_not_clamped_away():
    for module in (cql_steps, cql_steps_compiled):
        given, written = arguments_of("sample", torch.float32)
        given[0][0, OUTPUTS - 1] = torch.nan
        module.sample(*given, *written)
        assert written[0][:, 0].isnan().any(), module


def test_an_update_on_a_gpu_takes_pytorchs_steps_and_is_the_same():
    agents = [small_agent(kind, dtype=torch.float64) for kind in (CQL, FastCQL)]
    agents[1]._steps = cql_steps  # what it takes on a GPU
    for i in range(20):
        batch, noise = random_batch(seed=i, dtype=torch.float64), noise_for(agents[0], seed=i, dtype=torch.float64)
        ours, theirs = (agent.update(batch, noise) for agent in agents)
        assert max(abs(float(ours[name] - theirs[name])) for name in ours) < 1e-10
    assert largest_difference(*agents, "weights") < 1e-10
