"""Where things lie: the one place that knows the repository's layout."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARAMS = ROOT / "params"
NOTEBOOKS = ROOT / "notebooks"
RECORDS = ROOT / "outputs" / "records"  # published runs, part of the repository: not under SYNTHLIB_OUTPUTS


def outputs() -> Path:
    """The folder for everything that is made; ``SYNTHLIB_OUTPUTS`` puts it elsewhere (a larger disk, a test)."""
    return Path(os.environ.get("SYNTHLIB_OUTPUTS") or ROOT / "outputs")


def store_root() -> Path:
    return outputs() / "store"


def data_cache() -> Path:
    return outputs() / "cache"
