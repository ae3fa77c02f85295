import os
import signal
import threading

import matplotlib
import matplotlib.pyplot as plt
import pytest

from synthlib.errors import Stopped
from synthlib.replica import page, policies
from synthlib.replica.page import behaviour_policies
from synthlib.report.data_page import Effort, cards_of, find
from tests.common import random_policy

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _own_cache(outputs):
    pass


def test_policies_are_shown_only_beside_data_that_they_made(two_tiers, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "REPLICA_FOLDER", tmp_path)
    cards = cards_of(find(two_tiers)[0], two_tiers)
    assert behaviour_policies(cards) == {}
    policies.save_policy(tmp_path / "hopper_medium.npz", random_policy())
    assert list(behaviour_policies(cards)) == [("hopper", "medium")]
    other = random_policy()
    other.facts["steps"] = 501
    policies.save_policy(tmp_path / "hopper_medium.npz", other)
    assert behaviour_policies(cards) == {}


def test_cloning_is_set_beside_the_data_and_their_policy(two_tiers):
    spent, policy = Effort(rows=1, updates=30, episodes=2), random_policy()
    names, source = find(two_tiers)[0], two_tiers
    checks = page.cloning_checks(names, source, spent, {("hopper", "medium"): policy})
    assert list(checks) == ["hopper-medium"]
    check = checks["hopper-medium"]
    assert len(check.losses) == 30 and len(check.clone.returns) == len(check.noiseless.returns) == 2
    assert check.noiseless.lengths.min() > 10 and check.noise == 0.1
    unknown = page.cloning_checks(names, source, spent, {})
    table = page.cloning_table(unknown)
    assert table.loc["hopper-medium", "their policy without noise"] == "not known"
    assert table.loc["hopper-medium", "clone"] == page.cloning_table(checks).loc["hopper-medium", "clone"]
    figure, alt = page.cloning_curves(checks | {"without noise": unknown["hopper-medium"]})
    assert len(figure.axes[0].lines) == 3 and alt.startswith("Loss of behaviour cloning")
    plt.close(figure)


@pytest.fixture
def interruptible():
    """Ctrl-C is heard here, also where a shell has started the tests in its background and they ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_stop_button_ends_cloning_in_one_line(two_tiers, interruptible):
    """A real Ctrl-C, a second after the cloning has begun; without it this would take minutes."""
    long, names = Effort(rows=1, updates=30_000, episodes=1), find(two_tiers)[0]
    threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Stopped) as stopped:
        page.cloning_checks(names, two_tiers, long, {})
    assert stopped.value._render_traceback_() == [
        "stopped; a clone is not kept: run this cell again, and it begins anew"
    ]
