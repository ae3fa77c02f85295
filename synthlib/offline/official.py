"""The files that D4RL published of the four robots, version 2: size and SHA-256 of each. The paper uses twelve of them.

Source: what TensorFlow Datasets publishes of the same downloads (github tensorflow/datasets, the files
``tensorflow_datasets/d4rl/d4rl_mujoco_*/checksums.tsv``). So a file is D4RL's or it is not, wherever it comes from.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from synthlib.offline.checksums import file_checksum
from synthlib.offline.hdf5 import DataFileError
from synthlib.tasks import parse_name


class OfficialFile(NamedTuple):
    """What is known of one file: its size in ``bytes`` and its ``sha256`` (hex)."""

    bytes: int
    sha256: str


_PUBLISHED = """
halfcheetah_medium-v2.hdf5 237727262 41324e8487a9556d8cfa4538827f8937f4d63dae3030825ebc9f3a726ed08ca0
hopper_medium-v2.hdf5 152756557 5bdf1bc4a713c82941de44633df669b36c89850b652a25985166796d25cf71a0
walker2d_medium-v2.hdf5 232254996 cf00f43add04c17fdfc2958dd581dea0851b2e5bedbe6fda073758a8f841aeda
ant_medium-v2.hdf5 376239825 461c03b9f70f40d66b47608a92965e4ef3642bd9cdb1320d10acc92754167137
halfcheetah_medium_replay-v2.hdf5 59448533 48d494a4770c11f48260736dec090b78bdca8375647ed4d24bfa5b6610c7f683
hopper_medium_replay-v2.hdf5 75854457 e121c5f7c9857a307baa9edc6a2c3b48e85fedb9ac316ecddd0f48ca7ef4e39b
walker2d_medium_replay-v2.hdf5 86323963 e75de96a4f77acf7d4e0d6fdf0d7ccb177c26c44bb4388e4fd99f543ccfa18db
ant_medium_replay-v2.hdf5 136482252 844c4e5743ef51091f2106a3570b257fb149032c4743f8a5f02f40adc3b42a46
halfcheetah_medium_expert-v2.hdf5 474567252 015db75dae5bbe8e94029b71fa0bafc2073365df0c94744e71031189f3f79c06
hopper_medium_expert-v2.hdf5 304537315 9d51ad87f8c905be3880d84c6140bcdb7fbf39a19e046a237f238ba34fec9e26
walker2d_medium_expert-v2.hdf5 462197079 6b8d7f868c45bbaedf460be797fb7271b46dee6ebe45fe7a64319f2005b59a04
ant_medium_expert-v2.hdf5 748335217 8cfb64e62d8944b5d9dada5f0cfc13a295fafe0c6ba58b778e32ebf16c95aef1
halfcheetah_random-v2.hdf5 237338037 25407aef85b5d16c0f36b4149341edb4acc6a9e88c1db529b2de19e7464874ba
hopper_random-v2.hdf5 152525345 63103ef7059db4c0819bd054f4e83ff339030b50bcdb46bdbe50385f234b5054
walker2d_random-v2.hdf5 216109364 4e863bb6090cf4a461548bd470564b32f1ae5b32ef3085f816b2ede7f092e7fa
ant_random-v2.hdf5 384466831 93cc10893eed2b8e17f81d1aa51dc23d27c5ca101a3804249f6bd038c6f06055
halfcheetah_expert-v2.hdf5 237464597 d9fe53bb994eb1e20a99b4fa3412cd76a1bb7966a7ff55e0fcbdd6081bd2965f
hopper_expert-v2.hdf5 152427435 01aa219a5f8eea5e639eccdc636ec2bf40e317159a95cf4bf6e985f16909941b
walker2d_expert-v2.hdf5 230567195 2985dc3d436a8baa10e8f43f946fe1d7c6337a4e4fbc65def70618093b18c59a
ant_expert-v2.hdf5 373231677 fa22531ca79ea051006fa48bb652120d2e12c813919c530369a03c2688311b0f
halfcheetah_full_replay-v2.hdf5 291381762 27fdf7ea86e5a2cbd24d611ae9e703c86ec2e8e52823abc69dd9af6afb3a36c0
hopper_full_replay-v2.hdf5 187998921 56baf95963c51c1e964049a974566c50ba80f289390565523e60c0ba83e0982e
walker2d_full_replay-v2.hdf5 285115514 f2720f9d27b2acef6ec9a7d9ad3b80b6c2078ad4467cee668a81e3b3c80bcf2a
ant_full_replay-v2.hdf5 449390167 b95b0a7f34b1d5d1bedfded0f8e9cfc508b59de83cd4cbfb65b18dbd5056f26c
"""
OFFICIAL_FILES = {
    name: OfficialFile(int(size), sha256) for name, size, sha256 in map(str.split, _PUBLISHED.strip().splitlines())
}


def file_name(name: str) -> str:
    """Name of a data set's official file: ``hopper_medium_expert-v2.hdf5``. ValueError for an unknown data set.

    A data set of the user's own has such a name too.
    """
    environment, tier = parse_name(name)
    return f"{environment.rpartition(':')[2]}_{tier.replace('-', '_')}-v2.hdf5"


def official_file(name: str) -> OfficialFile:
    """Size and SHA-256 of a data set's official file. ValueError for an unknown data set."""
    return OFFICIAL_FILES[file_name(name)]


def gigabytes(names: Iterable[str]) -> float:
    """Size of the official files of these data sets together, in 10^9 bytes."""
    return sum(official_file(name).bytes for name in names) / 1e9


def is_official(path: Path, cache: str | Path | None = None) -> bool:
    """Whether a file is one of D4RL's, whatever it is called. A file of another size is not read.

    ``cache`` as in :func:`synthlib.offline.checksums.file_checksum`.
    """
    size = path.stat().st_size
    return any(size == known.bytes and file_checksum(path, cache) == known.sha256 for known in OFFICIAL_FILES.values())


def official_checksum(path: Path, cache: str | Path | None = None) -> str:
    """SHA-256 of a file that has the name of an official file and must be that file.

    ``cache`` as in :func:`synthlib.offline.checksums.file_checksum`. Raises :class:`DataFileError` when the file is
    another one; a file of another size is not read.
    """
    known, size = OFFICIAL_FILES[path.name], path.stat().st_size
    if size != known.bytes:
        difference = f"it has {size:,} bytes, not {known.bytes:,}"
    elif (digest := file_checksum(path, cache)) != known.sha256:
        difference = f"its SHA-256 is {digest[:8]}..., not {known.sha256[:8]}..."
    else:
        return digest
    raise DataFileError(
        f"{path} is not D4RL's {path.name}: {difference}. If it should be, delete it, and `make data DATA=d4rl` "
        f"fetches D4RL's; if it is data of your own, use it with DATA=path:{path.parent}"
    )
