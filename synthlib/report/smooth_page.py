"""The page of the smooth random dynamics: how far its centroids lie apart, beside those of the paper's MDP."""

from collections.abc import Sequence

import matplotlib.pyplot as plt

from synthlib.generators.centroids import expected_spread
from synthlib.generators.mdp import MDPConfig
from synthlib.generators.smooth_dynamics import centroids, dynamics, explained, smooth_dynamics
from synthlib.report.figures import COLOURS, Drawing
from synthlib.tasks import DIMENSIONS

_WIDTHS = DIMENSIONS["halfcheetah"]
_POINTS = 2000


def clouds(noises: Sequence[float]) -> Drawing:
    """Next observations and their centroids in the first two dimensions, a panel per noise."""
    figure, grid = plt.subplots(
        1, len(noises), figsize=(3.2 * len(noises), 4.0), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    words = []
    for axis, noise in zip(grid[0], noises, strict=True):
        observations, actions, following = smooth_dynamics(0, _POINTS, *_WIDTHS, noise=noise)
        means = centroids(observations, actions, *dynamics(*_WIDTHS))
        axis.scatter(*following[:, :2].T, s=5, color="0.75", linewidths=0, label="next observation")
        axis.scatter(*means[:, :2].T, s=5, color=COLOURS[0], alpha=0.5, linewidths=0, label="its centroid")
        share = explained(noise=noise)
        axis.set_title(f"noise {noise:g}\n{share:.0%} explained", fontsize=10)
        axis.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", xlabel="dimension 1")
        words.append(f"noise {noise:g}: {share:.1%}")
    grid[0][0].set_ylabel("dimension 2")
    grid[0][0].legend(fontsize=8, frameon=False, markerscale=2, loc="upper left")
    return figure, f"Next observations around their centroids. Explained by observation and action: {'; '.join(words)}."


def finding() -> str:
    """How much observation and action explain here and in the paper's MDP, in one sentence written from the numbers."""
    default = MDPConfig()
    share = expected_spread(default, default.trajectories * default.length, 1, 1.0)[0]
    shares = {noise: explained(noise=noise) for noise in (0.1, 1.0, 3.0)}
    words = ", ".join(f"{one:.1%} with noise {noise:g}" for noise, one in shares.items())
    return (
        f"Observation and action explain {words} of the variance of the next observation; in the paper's default MDP, "
        f"state and action explain {share:.2%}."
    )
