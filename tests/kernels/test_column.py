"""What a column draws ahead: in time, in order, and as its generators would have drawn it."""

import numpy as np
import torch

from synthlib.kernels.column import DrawnAhead, RowsAhead
from synthlib.machine.devices import CPU


def test_the_next_stretch_is_drawn_before_the_device_is_out_of_work():
    calls = []

    def draw(first, count):
        calls.append(first)
        return [np.arange(first, first + count), np.arange(first, first + count) / 2]

    ahead = DrawnAhead(draw, 3, 4, CPU)
    known = []
    for update in range(3, 20):
        ahead.provide(update)
        whole, half = ahead.at(torch.tensor([update]))
        assert (int(whole), float(half)) == (update, update / 2)
        known.append(len(calls))
    assert calls == [3, 7, 11, 15, 19]  # each stretch once
    assert known[:5] == [1, 1, 1, 2, 2]  # before the last update of a stretch is asked for, not after it


def test_a_stretch_of_one_update_is_drawn_when_it_is_needed():
    ahead = DrawnAhead(lambda first, count: [np.arange(first, first + count)], 0, 1, CPU)
    for update in range(4):
        ahead.provide(update)
        assert int(ahead.at(torch.tensor([update]))[0]) == update


def test_rows_are_those_of_the_generators_and_these_follow():
    own, alone = ([np.random.RandomState(seed) for seed in (0, 1)] for _ in range(2))
    ahead = RowsAhead(own, [50, 80], 6, 0, 4, CPU)
    for update in range(11):
        ahead.provide(update)
        expected = [one.randint(length, size=6) for one, length in zip(alone, (50, 80), strict=True)]
        assert np.array_equal(ahead.rows(torch.tensor([update])), expected)
        if update in (1, 6):
            ahead.settle(update + 1)
            for one, other in zip(own, alone, strict=True):
                assert all(map(np.array_equal, one.get_state(), other.get_state()))
