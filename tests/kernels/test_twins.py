"""The one chooser between readable and fast code."""

import sys
import types

import pytest
import torch

from synthlib.kernels import twins
from synthlib.kernels.twins import best, step, twin_of


def slow(config):
    return "slow"


@pytest.fixture
def fast(monkeypatch):
    """A twin of ``slow`` for positive configurations."""
    monkeypatch.setattr(twins, "_TWINS", {})

    @twin_of(slow, when=lambda config: config > 0)
    def quick(config):
        return "fast"

    return quick


def test_the_twin_takes_what_it_can_and_leaves_the_rest(fast):
    assert best(slow, 1) is fast
    assert best(slow, -1) is slow
    assert best(fast, 1) is fast


def test_readable_forces_the_definitions(fast, monkeypatch):
    monkeypatch.setattr(twins, "READABLE_ONLY", True)
    assert best(slow, 1) is slow


def test_a_twin_is_found_beside_its_definition_without_being_imported(monkeypatch):
    monkeypatch.setattr(twins, "_TWINS", {})
    twins._import_twins.cache_clear()
    plain, hurried = types.ModuleType("made_up"), types.ModuleType("made_up_fast")
    exec("def work(config):\n    return 'slow'", plain.__dict__)
    monkeypatch.setitem(sys.modules, "made_up", plain)
    hurried.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "made_up_fast", hurried)
    twin_of(plain.work)(len)
    assert best(plain.work) is len


def test_a_step_takes_its_kernel_on_the_processor_alone(monkeypatch):
    monkeypatch.setattr(twins, "STEPS", [])

    @step
    def double_(x):
        return "definition"

    assert double_(torch.ones(2)) == "definition"

    @double_.kernel
    def _(x):
        x[0] = 5.0

    x = torch.ones(2)
    assert double_(x) is None and x.tolist() == [5, 1]
    assert double_(torch.ones(2, device="meta")) == "definition"
    monkeypatch.setattr(twins, "READABLE_ONLY", True)
    assert double_(x) == "definition"
    assert list(twins.STEPS) == [double_]
