"""The registry of algorithms.

To add an algorithm, write a folder with its :class:`~synthlib.runs.job.Algorithm`, a line in :data:`ALGORITHMS`, and a
section with its name in params/presets.yaml. An algorithm outside of this package needs no line here:
``algorithm: my_package.my_module:ALGORITHM`` in params/<table>.yaml is enough.
"""

from importlib import import_module

from synthlib.runs.job import Algorithm, Job, Training

ALGORITHMS = {
    "dt": "synthlib.dt.algorithm:ALGORITHM",
    "cql": "synthlib.cql.algorithm:ALGORITHM",
}


def algorithm(name: str) -> Algorithm:
    """The algorithm called ``name``: a key of :data:`ALGORITHMS`, or ``module:NAME``. Raises ValueError if unknown."""
    module, colon, attribute = ALGORITHMS.get(name, name).partition(":")
    if not colon:
        raise ValueError(f"unknown algorithm {name!r}; known: {', '.join(ALGORITHMS)}, or module:NAME")
    try:
        found = getattr(import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"algorithm {name!r} cannot be imported: {error}") from error
    if not isinstance(found, Algorithm):
        raise ValueError(f"algorithm {name!r} is a {type(found).__name__}, not a synthlib.runs.job.Algorithm")
    return found


def training(job: Job) -> Training:
    """The record of the job's kind. Raises ValueError when the job's algorithm has no such kind."""
    trainings = algorithm(job.algorithm).trainings
    for one in trainings:
        if one.kind == job.kind:
            return one
    kinds = ", ".join(one.kind for one in trainings)
    raise ValueError(f"algorithm {job.algorithm!r} has no training of kind {job.kind!r}; it has: {kinds}")


def describe(job: Job) -> str:
    """One phrase that tells a person which training this is."""
    return training(job).describe(job)
