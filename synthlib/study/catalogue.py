"""All tables and figures together: of one algorithm, of the paper, and those that draw a figure.

A folder of the user's own may hold other YAML files, and tables that are not finished. They stop no command on another
table: only a command that names such a file says what is wrong with it.
"""

from synthlib.study.params import Artefact, ParameterError, artefact_names, is_own_table, load_artefact, written_in


def artefacts_of(algorithm: str) -> list[Artefact]:
    """All artefacts of one algorithm, in the paper's order, without files of the user's own that describe none."""
    artefacts = map(_artefact_or_none, artefact_names())
    return [artefact for artefact in artefacts if artefact is not None and artefact.algorithm == algorithm]


def printed_artefacts() -> list[Artefact]:
    """The tables and figures of the paper, in its order.

    A table that is ``like`` one of them and has ``more_arms`` stands beside the print as well, but it is not the
    paper's: claims are judged, and the paper's cost is counted, without it.
    """
    names = [name for name in artefact_names() if not is_own_table(name)]
    return [load_artefact(name) for name in names if name.startswith("figure") or written_in(name).get("paper_table")]


def figures_named_in(name: str) -> list[str]:
    """Names of the figures in the description ``name`` itself, without those that it takes over with ``like``."""
    figures = written_in(name).get("figures")
    return list(figures) if isinstance(figures, dict) else []


def _artefact_or_none(name: str) -> Artefact | None:
    try:
        return load_artefact(name)
    except ParameterError:
        if is_own_table(name):
            return None
        raise
