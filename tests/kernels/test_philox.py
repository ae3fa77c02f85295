"""Philox against the published known answers of its authors' library, and its use as uniform and normal numbers."""

import numpy as np
import pytest
import torch
from scipy import stats

from synthlib.kernels.philox import Keys, keys, normal, philox, unit, words
from synthlib.machine.devices import CPU, chosen

# Random123, kat_vectors: counter, key, output of Philox-4x32 with ten rounds.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.device
@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    given, of = ([torch.tensor([[word]], device=chosen()) for word in words] for words in (counter, key))
    found = philox(given, Keys(*of))
    assert tuple(int(word) for word in found) == expected


def test_words_depend_on_key_and_update_alone():
    of = keys([1, 2**64 - 1], CPU)
    drawn = words(of, torch.tensor([2**32 + 5]), 10)
    assert drawn.shape == (2, 10)
    assert torch.equal(drawn[1:], words(keys([2**64 - 1], CPU), torch.tensor([2**32 + 5]), 10))
    assert torch.equal(drawn[:, :7], words(of, torch.tensor([2**32 + 5]), 7))
    assert not torch.equal(drawn, words(of, torch.tensor([5]), 10))
    assert drawn.min() >= 0 and drawn.max() < 2**32


def test_units_are_in_the_half_open_interval():
    ends = unit(torch.tensor([0, 2**32 - 1]), torch.float32)
    assert ends.tolist() == [2.0**-24, 1.0]


def test_normals_are_normal_and_finite():
    drawn = normal(words(keys([3], CPU), torch.tensor([0]), 40_000), torch.float32)[0].numpy()
    assert stats.kstest(drawn, "norm").pvalue > 0.01
    assert torch.isfinite(normal(torch.zeros(1, 2, dtype=torch.int64), torch.float32)).all()
    assert np.abs(drawn).max() < 5.8
