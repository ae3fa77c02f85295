"""The paper's figures by their numbers: ``figure5`` is found wherever a description in params/ draws it.

Some figures have a description of their own. The others are drawn from the runs of a table, or of another figure, whose
description names them under ``figures:``. Such a figure is an artefact too, made of the arms that it shows.
"""

import re
from dataclasses import replace
from typing import Any

from synthlib.paths import description_of
from synthlib.study.catalogue import figures_named_in
from synthlib.study.checks import arms_shown
from synthlib.study.params import Artefact, ParameterError, artefact_names, load_artefact

_FIGURES = 17  # in the paper


def figure_names() -> list[str]:
    """The names of the paper's figures, in order."""
    return [f"figure{number}" for number in range(1, _FIGURES + 1)]


def names_of_all() -> list[str]:
    """Names of the paper's tables, of its figures, and of what the paper has not."""
    others = [name for name in artefact_names() if name not in figure_names()]
    tables = [name for name in others if name.startswith("table")]
    return [*tables, *figure_names(), *(name for name in others if name not in tables)]


def find_artefact(name: str) -> Artefact:
    """The artefact ``name`` of params/, or the part of one that draws figure ``name``.

    Raises ParameterError for an unknown name, and for a figure that two descriptions draw.
    """
    if name in artefact_names():
        return load_artefact(name)
    homes = _homes(name)
    if len(homes) == 1:
        return _part(load_artefact(homes[0]), name)
    if homes:
        files = " and ".join(map(description_of, homes))
        raise ParameterError(f"{name} is drawn by {files}: give one of the two figures another name")
    if re.fullmatch(r"figure\d+", name):
        raise ParameterError(
            f"the paper has no {name}: its figures are figure1 to figure{_FIGURES}, of which figure7 needs no runs"
        )
    raise ParameterError(f"no table or figure called {name!r}; there are: {', '.join(names_of_all())}")


def name_in_figure(artefact: Artefact, arm: str) -> str:
    """What a figure calls an arm of the artefact that is this figure; elsewhere the arm's own name."""
    if artefact.is_table or len(artefact.figures) != 1:
        return arm
    (description,) = artefact.figures.values()
    shown = description.get("arms")
    names = {own: name for name, own in shown.items()} if isinstance(shown, dict) else {}
    return names.get(arm, arm)


def _homes(figure: str) -> list[str]:
    """The artefacts that draw a figure. One that takes ``figures`` over from another with ``like`` is none of them."""
    return [name for name in artefact_names() if figure in figures_named_in(name)]


def _part(home: Artefact, figure: str) -> Artefact:
    """What ``figure`` needs of the artefact that draws it.

    It compares nothing: that is done in the artefact's table, and a figure may end at another number of updates.
    """
    description: dict[str, Any] = home.figures[figure]
    base = {arm: home.ratios.get(arm, (arm, 1.0))[0] for arm in home.arms}
    shown = arms_shown(description, list(base.values()))
    arms = {arm: settings for arm, settings in home.arms.items() if base[arm] in shown}
    return replace(
        home,
        name=figure,
        title=description.get("title", home.title),
        paper_table=None,
        baseline=None,
        control=None,
        controls={},
        arms=arms,
        figures={figure: description},
        authors={arm: label for arm, label in home.authors.items() if arm in arms},
        ratios={arm: ratio for arm, ratio in home.ratios.items() if arm in arms},
        equal_totals=tuple(group for group in home.equal_totals if set(group) <= set(arms)),
    )
