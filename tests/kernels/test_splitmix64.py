import pytest
import torch

from synthlib.generators.markov_chain import GAMMA, _scramble
from synthlib.kernels import splitmix64
from synthlib.machine.devices import chosen


@pytest.mark.device
@pytest.mark.parametrize("key", [0, 1, 2**63 - 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF])
def test_words_are_those_of_unsigned_arithmetic(key):
    """Against the readable generator of the chains, in Python's own integers."""
    signed = key - 2**64 if key >= 2**63 else key
    found = splitmix64.words(torch.tensor([[signed]], device=chosen()), 5, 40)
    expected = [_scramble((key + number * GAMMA) % 2**64) for number in range(6, 46)]
    assert [word % 2**64 for word in found[0].tolist()] == expected


def test_a_longer_draw_begins_with_the_shorter_one_and_keys_are_apart():
    keys = torch.tensor([[3], [4]])
    both = splitmix64.words(keys, 0, 10)
    assert torch.equal(splitmix64.words(keys[1:], 0, 4)[0], both[1, :4])
    assert torch.equal(splitmix64.words(keys, 4, 6), both[:, 4:])
    assert not (both[0] == both[1]).any()
