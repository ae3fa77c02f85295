import random

import numpy as np
import pytest

from synthlib.dt.windows import (
    Batch,
    BatchBuilder,
    draw,
    prepare,
    returns_to_go,
    subset,
    update_generators,
)
from synthlib.dt.windows_fast import FastBatchBuilder
from synthlib.kernels.twins import best
from tests.common import ToyTrajectory, golden, random_trajectories

GOLDEN = golden("dt_batch")
GOLDEN_NAMES = Batch("states", "actions", "rewards", "dones", "rtg", "timesteps", "attention_mask")


def golden_trajectories():
    return [
        ToyTrajectory(*(GOLDEN[f"traj{i}/{name}"] for name in ToyTrajectory._fields)) for i in range(GOLDEN["n_traj"])
    ]


def test_statistics_and_probabilities_equal_the_reference():
    data = prepare(golden_trajectories())
    for ours, name in (
        (data.mean, "state_mean"),
        (data.std, "state_std"),
        (data.drawable, "sorted_inds"),
        (data.probabilities, "p_sample"),
    ):
        np.testing.assert_array_equal(ours, GOLDEN[name], err_msg=name)


def test_draws_and_batches_equal_the_reference():
    data = prepare(golden_trajectories())
    builders = [kind(data) for kind in (BatchBuilder, FastBatchBuilder)]
    generators = np.random.RandomState(int(GOLDEN["numpy_seed"])), random.Random(int(GOLDEN["python_random_seed"]))
    for j in range(6):
        rows, starts = draw(data, int(GOLDEN["batch_size"]), *generators)
        np.testing.assert_array_equal(rows, GOLDEN[f"batch{j}/traj_index"])
        np.testing.assert_array_equal(starts, GOLDEN[f"batch{j}/start_index"])
        for batch in (builder.batch(rows, starts) for builder in builders):
            for ours, name in zip(batch, GOLDEN_NAMES, strict=True):
                np.testing.assert_array_equal(ours, GOLDEN[f"batch{j}/{name}"], err_msg=f"batch {j} {name}")


@pytest.mark.parametrize("window", [{}, {"context": 1}, {"context": 7, "return_scale": 30.0, "time_limit": 500}])
def test_twins_are_equal_over_every_window(window):
    """Trajectories shorter than, as long as and longer than the context, and longer than the time limit."""
    assert best(BatchBuilder) is FastBatchBuilder
    data = prepare(random_trajectories([1, 2, 19, 20, 21, 41, 1005]))
    rows, starts = np.array([(i, s) for i, t in enumerate(data.trajectories) for s in range(len(t.rewards))]).T
    slow, fast = (kind(data, **window).batch(rows, starts) for kind in (BatchBuilder, FastBatchBuilder))
    for ours, theirs, name in zip(fast, slow, Batch._fields, strict=True):
        assert ours.dtype == theirs.dtype, name
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    assert slow.timesteps.max() == window.get("time_limit", 1000) - 1 and slow.mask.min(axis=1).max() == 1
    assert slow.observations.shape[1] == window.get("context", 20)


def test_a_windows_length_scale_and_time_limit_are_the_builders():
    data = prepare(random_trajectories([40]))
    rows, starts = np.array([0, 0]), np.array([2, 30])
    usual = BatchBuilder(data).batch(rows, starts)
    other = BatchBuilder(data, context=5, return_scale=10.0, time_limit=32).batch(rows, starts)
    np.testing.assert_array_equal(other.observations[0], usual.observations[0, :5])
    np.testing.assert_allclose(other.returns_to_go[0], 100 * usual.returns_to_go[0, :6], rtol=1e-5)
    assert other.timesteps[1].tolist() == [30, 31, 31, 31, 31]


def test_lowest_return_is_left_out_unless_asked():
    trajectories = golden_trajectories()
    lowest = int(np.argmin([t.rewards.sum() for t in trajectories]))
    assert lowest not in prepare(trajectories).drawable
    mended = prepare(trajectories, exclude_lowest=False)
    assert sorted(mended.drawable) == list(range(8)) and mended.probabilities.sum() == pytest.approx(1)
    assert prepare(trajectories[:1]).drawable.tolist() == [0]


def test_windows_depend_on_seed_and_update_alone():
    data = prepare(random_trajectories([30, 50, 70]))
    first = draw(data, 64, *update_generators(42, 7))
    again = draw(data, 64, *update_generators(42, 7))
    other = draw(data, 64, *update_generators(42, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    # Faithfulness 3.12: (seed + 9999 update) mod 9,999,999.
    wrapped = (42 + 9999 * 99_999) % 9_999_999
    assert update_generators(42, 99_999)[0].randint(2**31) == np.random.RandomState(wrapped).randint(2**31)


def test_trajectories_are_drawn_by_length_and_starts_uniformly():
    data = prepare(random_trajectories([5, 100, 300]), exclude_lowest=False)
    rows, starts = draw(data, 40_000, np.random.RandomState(0), random.Random(0))
    shares = np.bincount(rows, minlength=3) / len(rows)
    assert shares == pytest.approx(np.array([5, 100, 300]) / 405, abs=0.01)
    counts = np.bincount(starts[rows == 2], minlength=300)
    assert len(counts) == 300 and counts.min() > 50


def test_returns_to_go():
    np.testing.assert_array_equal(returns_to_go([1, 2, 4]), [7, 6, 4])


def test_subset_is_fixed_and_whole():
    trajectories = random_trajectories([3] * 25)
    kept = subset(trajectories, 0.5)
    assert len(kept) == 12 and len({id(t) for t in kept}) == 12
    assert [id(t) for t in subset(trajectories, 0.5)] == [id(t) for t in kept]
    assert subset(trajectories, 1.0) == trajectories
    for ratio in (0, 0.01, 1.5):
        with pytest.raises(ValueError, match="data ratio"):
            subset(trajectories, ratio)


def test_bad_data_is_refused():
    with pytest.raises(ValueError, match="no complete trajectory"):
        prepare([])
    with pytest.raises(ValueError, match="trajectory 1 is empty"):
        prepare(random_trajectories([3, 0]))
    broken = random_trajectories([3, 4])
    broken[1].observations[2, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        prepare(broken)
