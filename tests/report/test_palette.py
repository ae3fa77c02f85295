"""One style per arm on all pages, told apart without its colour."""

import matplotlib.colors
import numpy as np
import pytest

from synthlib.report.palette import COLOURS, arm_styles
from synthlib.study.params import artefact_names, load_artefact


def told_by(style):
    return style["marker"], style["linestyle"], style.get("markerfacecolor")


def luminance(colour):
    return np.dot(matplotlib.colors.to_rgb(colour), (0.3, 0.59, 0.11))


@pytest.mark.parametrize("name", artefact_names())
def test_the_arms_of_a_page_are_told_apart_without_colour(name):
    artefact = load_artefact(name)
    # Of an artefact with parts of the data a figure draws the arms themselves.
    arms = list(dict.fromkeys(artefact.ratios.get(arm, (arm, 1.0))[0] for arm in artefact.arms))
    styles = arm_styles(arms)
    assert len(set(map(told_by, styles.values()))) == len(arms)
    assert max(luminance(style["color"]) for style in styles.values()) < 0.7, "too light on white paper"


def test_an_arm_has_the_same_style_on_every_page():
    """Whichever arms stand beside it: controls, pre-trainings and baselines of all pages."""
    seen = {}
    for name in artefact_names():
        for arm, style in arm_styles(load_artefact(name).arms).items():
            if "@" not in arm:
                seen.setdefault(arm, set()).add(tuple(sorted(style.items(), key=str)))
    assert {arm: len(styles) for arm, styles in seen.items() if len(styles) > 1} == {}


def test_the_same_runs_have_one_style_under_all_their_names():
    names = ["DT+Synthetic", "1-MC", "S100", "20k", "CQL+MDP", "S=100", "100K", "1-MC (here 2)", "S100 @ 0.1"]
    assert len({told_by(arm_styles([name])[name]) for name in names}) == 1


def test_a_control_of_one_arm_has_its_colour_and_a_hollow_marker():
    styles = arm_styles(["S10", "S10, matched", "S=100, seed 43"])
    assert styles["S10, matched"]["color"] == styles["S10"]["color"] and "markerfacecolor" not in styles["S10"]
    assert styles["S=100, seed 43"]["color"] == COLOURS[0]
    assert styles["S10, matched"]["markerfacecolor"] == "white"


def test_arms_of_a_reader_are_told_apart_too():
    styles = arm_styles(["DT", *(f"mine {number}" for number in range(20))])
    assert len(set(map(told_by, styles.values()))) == 21
