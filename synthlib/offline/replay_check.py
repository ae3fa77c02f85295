"""Do the data fit the physics that policies are evaluated in? The doctor and notebook 01 say it for each robot."""

from collections.abc import Sequence

from synthlib.offline.hdf5 import DataFileError
from synthlib.offline.masses import choose_masses
from synthlib.offline.replay import CANDIDATES, FIT, fitting, median_errors
from synthlib.offline.sources import find_files
from synthlib.paths import data_cache
from synthlib.tasks import environment_of, masses_of_robot


def physics_findings(names: Sequence[str], source: str, count: int) -> list[str]:
    """A sentence for each robot: which body masses its first data set in ``names`` fits, by replaying ``count`` steps.

    ``source`` is the data source. A file that cannot be replayed is a finding, too.
    """
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(environment_of(name), name)
    return [_finding(name, source, count) for name in first.values()]


def _finding(name: str, source: str, count: int) -> str:
    environment = environment_of(name)
    try:
        medians = median_errors(find_files(name, source)[0], environment, count)
        choice = choose_masses(name, source, data_cache())
    except DataFileError as error:
        return f"{name}: cannot be replayed: {error}"
    fits, used = fitting(medians), masses_of_robot(environment, choice.masses)
    numbers = ", ".join(f"{masses} {medians[masses]:.1e}" for masses in CANDIDATES)
    sentence = f"{name}: median one-step error {numbers}; "
    if not fits:
        sentence += f"the data fit no known masses to {FIT:.0e}"
    elif len(fits) > 1:
        sentence += "the data fit both mass sets"
    else:
        sentence += f"the data fit the {fits[0]} masses"
    if used not in fits:
        sentence += f"; policies are evaluated under the {used} masses, {choice.why}"
    return sentence
