"""Where things lie: the one place that knows the repository's layout, and what a path means that a user types."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARAMS = ROOT / "params"
NOTEBOOKS = ROOT / "notebooks"
LAB = ROOT / "lab"  # a reader's copies of them, made by `make lab`; git does not track it
RECORDS = ROOT / "outputs" / "records"  # published runs, part of the repository: not under SYNTHLIB_OUTPUTS
# Environment: one path each.
VARIABLES = ("SYNTHLIB_OUTPUTS", "SYNTHLIB_PARAMS", "D4RL_DATASET_DIR", "AUTHORS_LOGS", "NUMBA_CACHE_DIR")


def absolute(path: str | os.PathLike[str], base: str | os.PathLike[str] | None = None) -> Path:
    """What a path means that a user has typed: ``~`` is a home folder, a relative path counts from ``base``.

    ``base`` is the folder where the command was typed, unless it is given. Raises ValueError for the home of a user
    who has none on this machine.
    """
    try:
        typed = Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{os.fspath(path)!r} starts with a home folder that is not known here: {error}") from error
    return Path(os.path.abspath(Path(base or Path.cwd()) / typed))


def from_environment(name: str) -> Path | None:
    """The absolute path in the environment variable ``name``, one of :data:`VARIABLES`; None when it is not set.

    A relative path counts from the folder where the command was typed. Jupyter runs a notebook in the notebook's own
    folder, where nobody sets a variable: there the path counts from the repository, where ``make lab`` was typed.
    """
    value = os.environ.get(name)
    if not value:
        return None
    in_a_notebook = any(map(Path.cwd().is_relative_to, (NOTEBOOKS, LAB)))
    try:
        return absolute(value, ROOT if in_a_notebook else None)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def settled_variables() -> dict[str, str]:
    """{name: absolute path} of the :data:`VARIABLES` that are set, for a process that will run in another folder."""
    paths = {name: from_environment(name) for name in VARIABLES}
    return {name: str(path) for name, path in paths.items() if path is not None}


def outputs() -> Path:
    """The folder for everything that is made; ``SYNTHLIB_OUTPUTS`` puts it elsewhere (a larger disk, a test)."""
    return from_environment("SYNTHLIB_OUTPUTS") or ROOT / "outputs"


def own_params() -> Path | None:
    """A folder of the user's own with tables beside those of params/, and with the code that they name; or None."""
    return from_environment("SYNTHLIB_PARAMS")


def description_of(name: str) -> str:
    """What a message calls the file that describes a table: params/NAME.yaml, or the user's own file."""
    folder = own_params()
    if folder is None or not (path := folder / f"{name}.yaml").is_file():
        return f"params/{name}.yaml"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def store_root() -> Path:
    return outputs() / "store"


def data_cache() -> Path:
    return outputs() / "cache"
