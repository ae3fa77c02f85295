import numpy as np
import pytest

from synthlib.kernels import pcg64


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 7])
def test_every_output_is_that_of_default_rng(words):
    seeds = np.random.default_rng(words).integers(0, 2**32, size=(words, 20), dtype=np.uint32)
    seeds[0, :3] = [0, 1, 2**32 - 1]
    expected = [np.random.default_rng(column).random(300) for column in seeds.T.tolist()]
    np.testing.assert_array_equal(pcg64.doubles(pcg64.seeded(seeds), pcg64.jumps(300)), expected)


def test_a_far_output_needs_no_others():
    last = pcg64.jumps(100_000)[-1:]
    assert pcg64.doubles(pcg64.seeded(np.array([[667]])), last) == np.random.default_rng(667).random(100_000)[-1]
