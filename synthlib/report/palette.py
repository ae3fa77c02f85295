"""One style per arm, the same on all pages: a colour, a marker and a line style that belong to its name.

Arms that are the same runs under several names (S100, tau=1, 20k: the default pre-training) have one style, and so have
arms of the same role for DT and for CQL. A control of one arm alone, and a pre-training from another seed, have the
colour of their arm. Every two arms of a figure differ in marker or line style, so no figure needs its colours.
"""

import itertools
import re
from collections.abc import Iterable
from typing import Any

import seaborn as sns

# Seaborn's colour-blind palette without its pink and yellow, which are too light in grey, and three dark ones.
COLOURS = [colour for i, colour in enumerate(sns.color_palette("colorblind")) if i not in (6, 8)]
COLOURS += ["#1a1a1a", "#882255", "#6b2d0c"]
_BLUE, _ORANGE, _GREEN, _RED, _VIOLET, _BROWN, _GREY, _SKY, _BLACK, _WINE, _DARK = COLOURS
_MARKERS = "osD^vPX*<>hd"
_DASHES = ["-", "--", "-.", ":"]
_STEPS = [(_RED, "v"), (_VIOLET, "^"), (_BROWN, "<"), (_SKY, ">"), (_WINE, "h")]  # along an axis of an ablation

Style = dict[str, Any]  # keywords of matplotlib's plot


def _style(colour: Any, marker: str, dash: Any) -> Style:
    return {"color": colour, "marker": marker, "linestyle": dash}


def _along(dash: Any, *steps: Iterable[str]) -> dict[str, Style]:
    return {arm: _style(*place, dash) for place, arms in zip(_STEPS, steps, strict=False) for arm in arms}


_ROLES = {
    **dict.fromkeys(("DT", "CQL", "Stronger CQL"), _style(_BLACK, "o", "-")),
    **dict.fromkeys(("DT, matched", "CQL, matched", "Stronger CQL, matched"), _style(_GREY, "s", "--")),
    **dict.fromkeys(("DT+Synthetic", "1-MC", "S100", "20k"), _style(_BLUE, "D", "-")),
    **dict.fromkeys(("CQL+MDP", "S=100", "tau=1", "100K", "Stronger CQL, S=100"), _style(_BLUE, "D", "-")),
    **dict.fromkeys(("IID uniform", "CQL+IID", "IID"), _style(_ORANGE, "P", "-.")),
    "DT+Wiki": _style(_GREEN, "X", ":"),
    **_along("--", ("S10", "S=10"), ("S1000", "S=1000"), ("S10000", "S=10000"), ("S100000", "S=100000")),
    **_along("--", ("0 nat",), ("0.04 nat",), ("0.5 nat",), ("2 nat",), ("4 nat",)),
    **_along("-.", ("noise 0.1",), ("noise 1",), ("noise 3",)),
    **_along("-.", ("tau=0.01",), ("tau=0.1",), ("tau=10",), ("tau=100",)),
    **_along(":", ("1k", "1K"), ("10k", "10K"), ("40k", "40K"), ("60k", "500K"), ("80k", "1M")),
    **_along("-", ("2-MC", "DT+20K more", "CQL+100K more", "CQL, twice as long"), ("5-MC", "DT+80K more")),
    **dict.fromkeys(("DT+Identity", "CQL+Identity"), _style(_VIOLET, "d", "--")),
    **dict.fromkeys(("DT+Mapping", "CQL+Mapping"), _style(_BROWN, "*", "-.")),
    "DT+Wiki, no k-means": _style(_WINE, "h", "--"),
    "DT, matched (IID side)": _style(_SKY, "s", "-."),
    "DT, matched (another start)": _style(_DARK, "s", ":"),
    "CQL, matched (wider head)": _style(_SKY, "s", ":"),
    "CQL, target capped": _style(_SKY, "<", "-."),
    "CQL, no cap": _style(_RED, "v", "--"),
    "S=100, permuted": _style(_RED, "v", "--"),
    "S=100, norms only": _style(_VIOLET, "^", "-."),
}
_FREE = [_DARK, _WINE, _SKY, _BROWN, _VIOLET, _RED, _GREEN, _ORANGE]  # not those of baseline, control and default
_SPARE = [
    _style(colour, *told)
    for colour, told in zip(itertools.cycle(_FREE), itertools.product("ph8d*<>^vXPs", _DASHES), strict=False)
]


def arm_styles(arms: Iterable[str]) -> dict[str, Style]:
    """{arm: plot keywords}: the arm's own style; of a name that is not ours, one that no other arm here has.

    Parts of the data, and updates that were run in place of a named number, do not change an arm's style. Beyond some
    fifty unknown names styles repeat.
    """
    found: dict[str, Style] = {}
    arms = list(arms)
    for name in dict.fromkeys(map(_bare, arms)):
        taken = set(map(_told_by, found.values()))
        candidates = [*([_ROLES[name]] if name in _ROLES else []), *_of_family(name), *_SPARE]
        found[name] = next((one for one in candidates if _told_by(one) not in taken), candidates[-1])
    return {arm: found[_bare(arm)] for arm in arms}


def _told_by(style: Style) -> tuple[Any, ...]:
    """What tells a style from others without its colour."""
    return style["marker"], style["linestyle"], style.get("markerfacecolor")


def _bare(arm: object) -> str:
    """The name without the updates that were run in its place, and without the share of the data."""
    return re.sub(r" \(here .*\)$| @ .*$", "", str(arm))


def _of_family(name: str) -> list[Style]:
    """Styles in the colour of the longest known name that ``name`` begins with, with hollow markers."""
    parents = [known for known in _ROLES if name.startswith(f"{known},")]
    if not parents:
        return []
    colour = _ROLES[max(parents, key=len)]["color"]
    told = itertools.product(_DASHES, f"s{_MARKERS}")
    return [_style(colour, marker, dash) | {"markerfacecolor": "white"} for dash, marker in told]
