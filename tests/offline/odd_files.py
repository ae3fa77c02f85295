"""Data files for the fuzzer: files in D4RL's layout that are right, and the changes that make them odd or wrong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from synthlib.offline.masses import LABEL
from synthlib.tasks import DIMENSIONS, MAX_EPISODE_STEPS

NUMBERS = ("observations", "actions", "rewards", "next_observations")
FLAGS = ("terminals", "timeouts")


class Change(NamedTuple):
    """A change of a file: ``apply(path, generator)``, and what must follow: "loads", "refused" or "either"."""

    name: str
    apply: Callable[[Path, np.random.Generator], None]
    follows: str


CHANGES: list[Change] = []


def change(follows: str, *cases: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of (open file, generator), or of (open file, generator, case) for each of ``cases``."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        for case in cases or (None,):
            arguments = () if case is None else (case,)

            def apply(path: Path, rng: np.random.Generator, arguments: tuple[Any, ...] = arguments) -> None:
                with h5py.File(path, "a") as file:
                    function(file, rng, *arguments)

            CHANGES.append(Change(f"{function.__name__} {'' if case is None else case}".strip(), apply, follows))
        return function

    return register


# --- a file that is right


def make_file(path: Path, rng: np.random.Generator) -> str:
    """Write a data set that loads; returns its name. Episodes are short, or as long as the time limit."""
    environment = str(rng.choice(["hopper", "walker2d", "halfcheetah", "ant"]))
    observed, acted = DIMENSIONS[environment]
    observed = 27 if environment == "ant" and rng.random() < 0.5 else observed
    lengths = [MAX_EPISODE_STEPS] * 2 if rng.random() < 0.2 else list(rng.integers(4, 40, rng.integers(3, 8)))
    ends = np.cumsum(lengths) - 1
    rows = int(ends[-1]) + 1 + int(rng.integers(0, 4))
    observations = rng.normal(size=(rows, observed)).astype(np.float32)
    following = np.roll(observations, -1, axis=0)
    following[[*ends, -1]] = rng.normal(size=(len(ends) + 1, observed))
    by_time = np.isin(np.arange(rows), ends[rng.random(len(ends)) < 0.5])
    by_time[ends[0]] = True  # flags that say something
    if environment == "halfcheetah" or lengths[0] == MAX_EPISODE_STEPS:
        by_time[ends] = True
    arrays = {
        "observations": observations,
        "actions": np.tanh(rng.normal(size=(rows, acted))).astype(np.float32),
        "rewards": rng.normal(size=rows).astype(np.float32),
        "terminals": np.isin(np.arange(rows), ends) & ~by_time,
        "timeouts": by_time,
        "next_observations": following,
    }
    with h5py.File(path, "w", libver=str(rng.choice(["earliest", "latest"]))) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **({"compression": "gzip"} if rng.random() < 0.7 else {}))
        if rng.random() < 0.7:  # without the label, steps are replayed in the physics
            file.attrs[LABEL] = "d4rl"
        file["metadata/algorithm"] = np.bytes_("made up")
    return f"{environment}-medium"


def some(rng: np.random.Generator, file: h5py.File, names: tuple[str, ...] = NUMBERS) -> str:
    return str(rng.choice([name for name in names if name in file]))


def replace(file: h5py.File, name: str, array: Any, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, data=array, **options)


def set_somewhere(file: h5py.File, name: str, rng: np.random.Generator, value: float) -> None:
    array = file[name][()]
    array[tuple(int(rng.integers(size)) for size in array.shape)] = value
    replace(file, name, array)


# --- what must load


@change("loads")
def nothing(file, rng):
    pass


@change("loads", "f2", "f8", ">f4", ">f8")
def number_type(file, rng, dtype):
    for name in NUMBERS:
        replace(file, name, file[name][()].astype(dtype))


@change("loads", "u1", "i8", "f4", ">i2", "column")
def flag_type(file, rng, dtype):
    for name in FLAGS:
        array = file[name][()]
        replace(file, name, array[:, None] if dtype == "column" else array.astype(dtype))


@change("loads", "lzf", "szip", "shuffle", "fletcher32", "resizable", "tiny chunks")
def storage(file, rng, kind):
    for name in (*NUMBERS, *FLAGS):
        array = file[name][()]
        options = {
            "lzf": {"compression": "lzf"},
            "szip": {"compression": "szip"},
            "shuffle": {"compression": "gzip", "shuffle": True},
            "fletcher32": {"fletcher32": True},
            "resizable": {"maxshape": (None, *array.shape[1:])},
            "tiny chunks": {"chunks": (7, *array.shape[1:])},
        }
        replace(file, name, array, **options[kind])


@change("loads")
def rewards_in_a_column(file, rng):
    replace(file, "rewards", file["rewards"][()][:, None])


@change("loads")
def no_successors(file, rng):
    del file["next_observations"]


@change("loads")
def actions_of_a_gaussian_policy(file, rng):
    replace(file, "actions", rng.normal(0, 1.5, file["actions"].shape).astype(np.float32))


@change("loads")
def more_arrays(file, rng):
    file["dones"] = np.zeros(3)
    file["infos/extra"] = rng.normal(size=(2, 2))
    file["policy"] = h5py.ExternalLink("/dev/zero", "/x")
    file["here"] = h5py.SoftLink("/nowhere")
    file["\udcff".encode("utf-8", "surrogateescape")] = 1


@change("loads", "bytes", "empty", "nan", "reference", "vlen", "compound", "time", "big", "masses", "name", "opaque")
def attribute(file, rng, kind):
    values = {
        "bytes": np.array([b"Hopper-v2", b"Hopper-v3"]),
        "empty": h5py.Empty("S10"),
        "nan": np.array([np.nan, np.inf]),
        "reference": file["rewards"].ref,
        "vlen": ["a", "\N{SNOWMAN}"],
        "compound": np.array([(1, 2.0)] * 2, dtype=[("x", "i4"), ("y", "f8")]),
        "big": rng.normal(size=5000),
        "opaque": np.void(b"\x00\xff"),
    }
    if kind == "time":
        h5py.h5a.create(file.id, b"when", h5py.h5t.UNIX_D32LE, h5py.h5s.create(h5py.h5s.SCALAR))
    elif kind == "name":
        file.attrs["a\nb"] = 1
    elif kind == "masses":
        file.attrs.pop(LABEL, None)
        file.attrs[str(rng.choice([LABEL, "masses"]))] = [b"d4rl", b"stock"] if rng.random() < 0.5 else 3.5
    else:
        file.attrs["note"] = values[kind]


@change("loads", "link", "group", "empty", "virtual", "array", "time")
def metadata(file, rng, kind):
    if kind == "link":
        del file["metadata"]
        file["metadata"] = h5py.ExternalLink("/dev/zero", "/x")
    elif kind == "array":
        del file["metadata"]
        file["metadata"] = np.ones(3)
    elif kind == "group":
        file.create_group("metadata/policy")["weights"] = np.ones((5, 5))
    elif kind == "empty":
        file["metadata/note"] = h5py.Empty("f4")
    elif kind == "virtual":
        layout = h5py.VirtualLayout((1,), "f4")
        layout[...] = h5py.VirtualSource("/dev/zero", "x", (1,))
        file.create_virtual_dataset("metadata/score", layout)
    else:
        scalar = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5d.create(file["metadata"].id, b"when", h5py.h5t.UNIX_D32LE, scalar)


# --- what must be refused


@change("refused", "observations", "actions", "rewards", "terminals")
def missing(file, rng, name):
    del file[name]


@change("refused", "shorter", "longer", "none", "one")
def rows(file, rng, kind):
    if kind in ("none", "one"):
        for name in (*NUMBERS, *FLAGS):
            replace(file, name, file[name][: int(kind == "one")])
        return
    name = some(rng, file, (*NUMBERS, *FLAGS))
    array = file[name][()]
    replace(file, name, array[:-1] if kind == "shorter" else np.concatenate([array, array[:1]]))


@change("refused", "wider", "narrower", "transposed", "flat", "deep")
def shape(file, rng, kind):
    name = some(rng, file, ("observations", "actions", "next_observations"))
    array = file[name][()]
    shapes = {
        "wider": lambda: np.concatenate([array, array[:, :1]], axis=1),
        "narrower": lambda: array[:, 1:],
        "transposed": lambda: array.T,
        "flat": array.ravel,
        "deep": lambda: array[:, :, None],
    }
    replace(file, name, shapes[kind]())


@change("refused", "scalar", "empty", "group", "text", "complex", "compound", "vlen", "opaque", "time", "reference")
def no_numbers(file, rng, kind):
    name = some(rng, file, (*NUMBERS, *FLAGS))
    count = len(file[name])
    values = {
        "scalar": 1.0,
        "empty": h5py.Empty("f4"),
        "text": np.array([b"1.0"] * count),
        "complex": file[name][()].astype(complex),
        "compound": np.zeros(count, dtype=[("x", "f4")]),
        "opaque": np.zeros(count, dtype="V4"),
    }
    del file[name]
    if kind == "group":
        file.create_group(name)
    elif kind == "vlen":
        file.create_dataset(name, (count,), h5py.vlen_dtype(np.float32))[0] = np.ones(2)
    elif kind == "time":
        h5py.h5d.create(file.id, name.encode(), h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((count,)))
    elif kind == "reference":
        file.create_dataset(name, data=np.array([file.ref] * count, dtype=h5py.ref_dtype))
    else:
        file[name] = values[kind]


@change("refused", np.nan, np.inf, -np.inf, 1e36, -1e11)
def number(file, rng, value):
    set_somewhere(file, some(rng, file), rng, value)


@change("refused")
def double_beyond_float32(file, rng):
    name = some(rng, file)
    replace(file, name, file[name][()].astype(float))
    set_somewhere(file, name, rng, 1e300)


@change("refused")
def actions_on_another_scale(file, rng):
    replace(file, "actions", 100 * np.sign(file["actions"][()]))


@change("refused", 2, -1, 0.5, np.nan)
def flag(file, rng, value):
    name = some(rng, file, FLAGS)
    replace(file, name, file[name][()].astype(float))
    set_somewhere(file, name, rng, value)


@change("refused", "true", "false", "inverted")
def flags_that_say_nothing(file, rng, kind):
    ends = file["terminals"][()] | file["timeouts"][()]
    del file["next_observations"]
    replace(file, "timeouts", np.zeros(len(ends), dtype=bool))
    values = {"true": np.ones_like(ends), "false": np.zeros_like(ends), "inverted": ~ends}
    replace(file, "terminals", values[kind])


@change("refused", "shuffled", "reversed", "every other", "blocks")
def order(file, rng, kind):
    rows = np.arange(len(file["rewards"]))
    blocks = np.array_split(rows, len(rows) // 5)
    rows = {
        "shuffled": rng.permutation(rows),
        "reversed": rows[::-1],
        "every other": rows[::2],
        "blocks": np.concatenate([blocks[place] for place in rng.permutation(len(blocks))]),
    }[kind]
    for name in (*NUMBERS, *FLAGS):
        replace(file, name, file[name][()][rows])


@change("refused", "soft", "external", "device", "pipe", "loop", "virtual", "raw")
def elsewhere(file, rng, kind):
    name = some(rng, file, (*NUMBERS, *FLAGS))
    array, other = file[name][()], Path(file.filename).with_suffix(".other")
    if kind == "soft":
        file.move(name, "kept")
        file[name] = h5py.SoftLink("/kept")
        return
    del file[name]
    if kind in ("device", "loop", "pipe"):
        if kind == "pipe":
            os.mkfifo(other)
        target = {"device": "/dev/zero", "loop": file.filename, "pipe": str(other)}[kind]
        file[name] = h5py.ExternalLink(target, f"/{name}")
    elif kind == "raw":
        other.write_bytes(array.tobytes())
        file.create_dataset(name, array.shape, array.dtype, external=[(str(other), 0, array.nbytes)])
    else:
        with h5py.File(other, "w") as source:
            source[name] = array
        if kind == "external":
            file[name] = h5py.ExternalLink(str(other), f"/{name}")
        else:
            layout = h5py.VirtualLayout(array.shape, array.dtype)
            layout[...] = h5py.VirtualSource(str(other), name, array.shape)
            file.create_virtual_dataset(name, layout)


@change("refused", "contiguous", "chunked", "half", "huge")
def never_written(file, rng, kind):
    name = some(rng, file, ("rewards", *FLAGS))
    count, dtype = len(file[name]), file[name].dtype
    del file[name]
    rows = 10**13 if kind == "huge" else count
    array = file.create_dataset(name, (rows,), dtype, chunks=None if kind == "contiguous" else (2,))
    if kind == "half":
        array[: count // 2] = 0


# --- what may go either way


@change("either")
def no_timeouts(file, rng):
    del file["timeouts"]


@change("either")
def silent_timeouts(file, rng):
    replace(file, "timeouts", np.zeros(len(file["timeouts"]), dtype=bool))


@change("either")
def one_end_less(file, rng):
    name = some(rng, file, FLAGS)
    flags = file[name][()]
    if flags.any():
        flags[rng.choice(np.flatnonzero(flags))] = False
        replace(file, name, flags)


@change("either")
def another_robot(file, rng):
    widths = DIMENSIONS[str(rng.choice(list(DIMENSIONS)))]
    count = len(file["rewards"])
    for name, width in zip(("observations", "actions", "next_observations"), (*widths, widths[0]), strict=True):
        replace(file, name, rng.uniform(-1, 1, (count, width)).astype(np.float32))
