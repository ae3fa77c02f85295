"""What a job says about its data set, and loading it again when the job is trained."""

from functools import cache

from synthlib.offline.datasets import OfflineDataset, load
from synthlib.paths import data_cache
from synthlib.tasks import environment_of


@cache
def data_identity(dataset: str, source: str | None) -> tuple[str, str | None, str]:
    """Environment, content checksum and capsule masses of a data set; no checksum for a plan that is only counted."""
    if source is None:
        return environment_of(dataset), None, "d4rl"
    data = load(dataset, source, cache=data_cache())
    return data.environment, data.checksum, data.masses


def planned_data(name: str, checksum: str | None, source: str) -> OfflineDataset:
    """The data set of a fine-tuning job; ValueError when it is no longer the one that was planned with."""
    data = load(name, source, cache=data_cache())
    if data.checksum != checksum:
        raise ValueError(f"{name} changed on disk while its runs were being planned; start again")
    return data
