"""The data of planned trainings: their identity, which needs no array, and the arrays themselves."""

from collections.abc import Iterable
from functools import cache

from synthlib.offline.datasets import OfflineDataset, load
from synthlib.offline.masses import choose_masses
from synthlib.offline.official import official_file
from synthlib.offline.sources import checksum
from synthlib.paths import data_cache
from synthlib.tasks import environment_of, is_own_data


class DataChangedError(ValueError):
    """A data set is not the one any more that was planned with: a new plan can go on."""


@cache
def data_identity(dataset: str, source: str | None) -> tuple[str, str | None, str]:
    """(environment, SHA-256 of the content, body masses) of a data set: its part of a run's identity.

    ``source`` is the data source: "replica", "d4rl" or "path:DIR". It may be None for a plan that is only counted and
    needs no data; then the checksum is None. D4RL's files are known, so they need not be there. Of other files the
    attributes are read, and their digests are looked up in the cache or computed once. Of a file that does not say its
    masses, some hundred rows are read once. Arrays are not checked, so a file with damaged arrays has an identity too;
    :func:`check_data` refuses it. Raises ValueError (unknown name or data source), FileNotFoundError,
    ``DataFileError``.
    """
    if source is None:
        return environment_of(dataset), None, "d4rl"
    if is_own_data(dataset) and not source.startswith("path:"):
        raise ValueError(f"{dataset} is data of your own, which {source} does not have: say DATA=path:folder")
    if source == "d4rl":
        return environment_of(dataset), official_file(dataset).sha256, choose_masses(dataset, source).masses
    digest = checksum(dataset, source, data_cache())
    return environment_of(dataset), digest, choose_masses(dataset, source, data_cache()).masses


def check_data(datasets: Iterable[str], source: str) -> None:
    """Load every data set once: unpack it into the cache and check its arrays, before anything is trained on it.

    So a damaged file is reported once and not by every training, and workers that start together find the arrays
    unpacked. Raises the errors of :func:`synthlib.offline.datasets.load`.
    """
    for dataset in sorted(set(datasets)):
        load(dataset, source, cache=data_cache())


def planned_data(name: str, checksum: str | None, source: str) -> OfflineDataset:
    """The data set of a fine-tuning job, memory-mapped from the cache.

    ``checksum`` is the checksum in the job's configuration. Raises :class:`DataChangedError` when the content on disk
    has another checksum by now, and the errors of :func:`synthlib.offline.datasets.load`.
    """
    data = load(name, source, cache=data_cache())
    if data.checksum != checksum:
        raise DataChangedError(f"{name} changed on disk while its runs were being planned; start again")
    return data
