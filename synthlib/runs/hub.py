"""Trainings and files as a repository of the Hugging Face hub, or as a local folder of the same layout.

    README.md                                 the card: YAML front matter, then words
    trainings/<kind>/<key>/training.json      what the run's identity is the hash of
                           environment.json, progress.json, evaluations.csv, losses.csv     as in the store
                           <n>/model.safetensors        weights after n updates; GPT-2's with config.json beside them,
                                                        so that transformers reads the folder
                           policy_<n>.safetensors       a policy that was kept
    data/<file>.hdf5                          data sets, with the small file that belongs to one
    manifest.json                             what this is, and the SHA-256 of all these files

There is no pickle in it, and nothing is unpickled from it. A training gets into a store only when all its files have
their checksums and its configuration has the key that it goes by. ``hf://user/name`` is a repository of models on the
hub, ``hf://datasets/user/name`` one of data sets; for these ``huggingface_hub`` moves the files, with the user's own
login. (Tested with a small server of the hub's protocol: the hub itself was out of reach where this was written.)
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from synthlib.errors import Failed
from synthlib.machine.files import make_parents, read_json, write_atomically, write_json
from synthlib.paths import absolute
from synthlib.runs.job import Job, Training
from synthlib.runs.policies import kept_policy
from synthlib.runs.progress import NAME as PROGRESS
from synthlib.runs.progress import facts_of_file, read_progress, sealed, weights_name
from synthlib.runs.publish import fill_record
from synthlib.runs.session import load_saved
from synthlib.runs.store import Store
from synthlib.runs.transfer import Imported, take_in

CARD, MANIFEST = "README.md", "manifest.json"
_REMOTE = "hf://"
_OTHERS = "{} has files of something else; name another place with HUB="
_MODEL = "model.safetensors"
_TRAINING = re.compile(r"trainings/([a-z0-9_]+)/([0-9a-f]{16})/(.+)")
_ALLOWED = re.compile(
    r"trainings/[a-z0-9_]+/[0-9a-f]{16}/"
    r"(?:(?:training|environment|progress)\.json|(?:evaluations|losses)\.csv|policy_[0-9]+\.safetensors"
    r"|[0-9]+/(?:model\.safetensors|config\.json))"
    r"|data/[A-Za-z0-9_.-]+\.(?:hdf5|h5|yaml)"
)


def write_training(job: Job, training: Training, store: Store, folder: Path) -> Path:
    """Write a done job under ``folder`` in the layout of a hub; returns the job's own folder there."""
    made = folder / "trainings" / job.kind / job.key
    made.mkdir(parents=True)
    fill_record(made, job, store.finished(job), None)
    (made / "config.json").rename(made / "training.json")
    for path in made.glob(weights_name("*")):
        number = path.stem.removeprefix("weights_")
        (made / number).mkdir()
        _to_safetensors(path, made / number / _MODEL)
        if training.huggingface is not None:
            write_json(made / number / "config.json", training.huggingface(job))
        path.unlink()
    if policy := kept_policy(job, store):
        _to_safetensors(policy, made / f"{policy.stem}.safetensors")
    progress = {name: fact for name, fact in (read_progress(made) or {}).items() if name not in ("weights", "sha256")}
    write_json(made / PROGRESS, sealed(progress))
    return made


def push(fill: Callable[[Path], str], what: dict[str, str], hub: str) -> str:
    """Put what ``fill`` writes into a new folder on the ``hub``; returns where it is.

    ``fill`` returns the text of the card. ``what`` says in the manifest what the files are: ``kind`` is runs or data.
    Raises Failed where the hub has something else, and ValueError for an address that is none.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        card = fill(folder)
        sums = {str(path.relative_to(folder)): _sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}
        write_json(folder / MANIFEST, {"what": what, "files": sums})
        (folder / CARD).write_text(card, encoding="utf-8")
        if hub.startswith(_REMOTE):
            return _upload(folder, what, hub)
        return str(_copy_into(folder, what, absolute(hub)))


@contextmanager
def pulled(hub: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Context: (a folder with what lies on the ``hub``, what its manifest says it is); every checksum is verified.

    Raises Failed for a folder that is no such hub, for another file than the manifest lists, and for a damaged one.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = _download(hub, Path(temporary)) if hub.startswith(_REMOTE) else absolute(hub)
        yield folder, _verified(folder, hub)


def take_trainings(folder: Path, store: Store) -> Imported:
    """Put the trainings of a verified hub ``folder`` into ``store``; what is there already stays as it is."""
    result = Imported([], [], [])
    for path in sorted(file.parent for file in (folder / "trainings").glob("*/*/training.json")):
        kind, key = path.parent.name, path.name
        take_in(store.root / kind / key, partial(_to_store, path), folder, result)
    return result


def take_data(folder: Path, to: Path) -> list[Path]:
    """Copy the data files of a verified hub ``folder`` to the folder ``to``; a file of another content is not replaced.

    Raises Failed for such a file.
    """
    made = []
    for path in sorted((folder / "data").iterdir()):
        target = to / path.name
        if target.exists() and _sha256(target) != _sha256(path):
            raise Failed(f"{target} is there and is another file; move it away, or say TO= for another folder")
        if not target.exists():
            _copy(path, target)
        made.append(target)
    return made


def _verified(folder: Path, hub: str) -> dict[str, str]:
    if not folder.is_dir():
        raise Failed(f"HUB: there is no folder {folder}")
    if not (folder / MANIFEST).is_file():
        raise Failed(f"{hub} has no {MANIFEST}: it is nothing that make push- wrote, or its upload was interrupted")
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    what = manifest.get("what") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not isinstance(what, dict) or what.get("kind") not in ("runs", "data"):
        raise Failed(f"{MANIFEST} of {hub} is damaged; push it again")
    for name, digest in files.items():
        path = folder / name
        if not _ALLOWED.fullmatch(name):
            raise Failed(f"{hub} has {name!r}, which is no file of a training or of data; nothing of it is taken")
        if not path.is_file() or _sha256(path) != digest:
            raise Failed(f"{name} of {hub} is missing or does not have its checksum; push or pull it again")
    for path in (*(folder / "trainings").rglob("*"), *(folder / "data").rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() not in files:
            raise Failed(f"{path} is not in {MANIFEST}; push again, or remove the file")
    return what


def _to_store(path: Path, made: Path) -> None:
    """Make the store's files in ``made`` of a training's folder on a hub."""
    for name in ("environment.json", "evaluations.csv", "losses.csv", PROGRESS):
        if (path / name).exists():
            shutil.copyfile(path / name, made / name)
    shutil.copyfile(path / "training.json", made / "config.json")
    tensors = {weights_name(model.parent.name): model for model in path.glob(f"*/{_MODEL}")}
    tensors |= {f"{policy.stem}.pt": policy for policy in path.glob("policy_*.safetensors")}
    for name, file in tensors.items():
        _from_safetensors(file, made / name)
    if (progress := read_progress(made)) is not None and tensors:
        weights = {name: facts_of_file(made / name) for name in sorted(tensors)}
        unsealed = {name: fact for name, fact in progress.items() if name != "sha256"}
        write_json(made / PROGRESS, sealed(unsealed | {"weights": weights}))


def _to_safetensors(source: Path, target: Path) -> None:
    """Write PyTorch's file of tensors, flat or of one level more, as safetensors."""
    from safetensors.torch import save_file

    flat = {name: tensor.contiguous().clone() for name, tensor in _flat(load_saved(source)).items()}
    save_file(flat, target, {"format": "pt"})


def _from_safetensors(source: Path, target: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    nested: dict[str, Any] = {}
    try:
        flat = load_file(source)
    except SafetensorError as error:
        raise Failed(f"{source} is no safetensors file: {error}") from error
    for name, tensor in flat.items():
        part, slash, rest = name.partition("/")
        if slash:
            nested.setdefault(part, {})[rest] = tensor
        else:
            nested[name] = tensor
    torch.save(nested, target)


def _flat(tensors: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tensors.items():
        parts = {f"{name}/{rest}": tensor for rest, tensor in value.items()} if isinstance(value, Mapping) else {}
        flat |= parts or {name: value}
    return flat


def _copy_into(folder: Path, what: dict[str, str], hub: Path) -> Path:
    """Copy everything into a local hub, the manifest last; older files of the same table go."""
    older: Iterable[str] = ()
    if (hub / MANIFEST).exists():
        older = _check_same(hub / MANIFEST, what, hub)
    elif hub.is_dir() and any(hub.iterdir()):
        raise Failed(_OTHERS.format(hub))
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    for name in sorted(names, key=lambda name: name == MANIFEST):
        _copy(folder / name, hub / name)
    for name in older:
        if name not in names and _ALLOWED.fullmatch(name):
            (hub / name).unlink(missing_ok=True)
    return hub


def _check_same(manifest: Path, what: dict[str, str], hub: Path | str) -> Iterable[str]:
    """The files of an earlier push, whose manifest lies on the ``hub``. Raises Failed where it was something else."""
    found = read_json(manifest)
    if found["what"] != what:
        raise Failed(f"{hub} has something else ({', '.join(found['what'].values())}); name another place with HUB=")
    files: dict[str, str] = found["files"]
    return files


def _sha256(path: Path) -> str:
    return str(facts_of_file(path)["sha256"])


def _copy(source: Path, target: Path) -> None:
    make_parents(target)
    write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def _repository(hub: str) -> dict[str, Any]:
    """Arguments of huggingface_hub for an address on the hub."""
    name = hub.removeprefix(_REMOTE)
    kind = "dataset" if name.startswith("datasets/") else "model"
    name = name.removeprefix("datasets/")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"HUB={hub} is no address; say a folder, hf://user/name or hf://datasets/user/name")
    return {"repo_id": name, "repo_type": kind}


def _upload(folder: Path, what: dict[str, str], hub: str) -> str:
    """Upload everything to a repository of the hub, in place of an earlier push of the same."""
    from huggingface_hub import HfApi

    where, api = _repository(hub), HfApi()
    try:
        page = api.create_repo(**where, exist_ok=True)
        there = {*api.list_repo_files(**where)} - {".gitattributes"}  # the hub itself makes that one
        with tempfile.TemporaryDirectory() as name:
            if MANIFEST in there:
                _check_same(Path(api.hf_hub_download(**where, filename=MANIFEST, local_dir=name)), what, hub)
            elif there:
                raise Failed(_OTHERS.format(hub))
        older = ["trainings/*", "data/*"]  # of these go those that are not uploaded again
        message = "Push what synthlib trained"
        api.upload_folder(**where, folder_path=folder, delete_patterns=older, commit_message=message)
    except Failed:
        raise
    except Exception as error:  # its errors are those of several packages: of the hub, of HTTP, of the network
        said = " ".join(str(error).split())
        raise Failed(f"{hub} did not take it: {said} Log in with `hf auth login`, or push to a folder.") from error
    return str(page)


def _download(hub: str, folder: Path) -> Path:
    from huggingface_hub import snapshot_download

    where = _repository(hub)
    try:
        return Path(snapshot_download(**where, local_dir=folder))
    except Exception as error:
        raise Failed(f"{hub} could not be fetched: {' '.join(str(error).split())}") from error
