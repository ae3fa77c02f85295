import matplotlib
import matplotlib.pyplot as plt
import pytest

from synthlib.replica.frames import strip
from tests.common import random_policy

matplotlib.use("Agg")


@pytest.mark.parametrize("environment", ["hopper", "ant"])
def test_a_strip_shows_the_body_at_several_moments(environment, tmp_path):
    figure, alt = strip(random_policy(environment), count=4, spacing=3, start=2, rendered=False)
    assert alt.startswith(f"{environment}: 4 moments drawn from the side, steps 2 to 11 of an episode")
    assert len(figure.axes) == 4
    bodies = [axis.patches for axis in figure.axes]
    assert all(len(patches) == (4 if environment == "hopper" else 13) for patches in bodies)
    lowest = [min(patch.get_xy()[:, 1].min() for patch in patches) for patches in bodies]
    assert all(-0.05 < height < 0.6 for height in lowest), "bodies are above the ground"
    assert not (bodies[0][0].get_xy() == bodies[3][0].get_xy()).all(), "the body moves"
    figure.savefig(tmp_path / "strip.png")
    plt.close(figure)


def test_a_short_episode_is_spread_evenly():
    figure, alt = strip(random_policy(), count=3, start=900, rendered=False)
    assert "steps 0 to " in alt
    plt.close(figure)
