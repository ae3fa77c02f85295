"""A digest of the code behind a module: edited code must never be served the runs of the code before it.

It covers the module's file and the files that it imports, as far as they are the researcher's own: not Python's
library, not installed packages, not this package. Data files are not covered; a generator that reads one should take
its checksum as a parameter.
"""

import ast
import contextlib
import hashlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from synthlib.paths import own_params

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = {"site-packages", "dist-packages"}
_digests: "WeakKeyDictionary[Callable[..., Any], str]" = WeakKeyDictionary()  # as each function was imported


def imported(place: str) -> ModuleType:
    """The module ``place`` of the user's own, from the Python path or from the folder of the user's own tables.

    Raises ValueError, in one sentence, when it cannot be imported.
    """
    beside_tables = own_params()
    if beside_tables is not None and str(beside_tables) not in sys.path:
        sys.path.append(str(beside_tables))
    try:
        return import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{place}.".startswith(f"{error.name}."):
            raise ValueError(
                f"there is no module {place!r} on the Python path: say where its file lies with PYTHONPATH=folder"
            ) from error
        raise ValueError(f"{place} cannot be imported: {error}") from error
    except Exception as error:
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error


def code_of(name: str, function: Callable[..., Any], version: int | None) -> dict[str, Any]:
    """What stands in an identity for the code of ``function``, which is ``name`` = module:name: version or digest.

    Raises ValueError when the code was edited after this process had imported it.
    """
    if version is not None:
        return {"version": version}
    digest = code_digest(import_module(name.partition(":")[0]))
    if _digests.setdefault(function, digest) != digest:
        raise ValueError(f"{name} was edited after it was imported: start again (in a notebook: restart the kernel)")
    return {"source": digest}


def code_digest(module: ModuleType) -> str:
    """Hex SHA-256 of the sources of ``module`` and of the researcher's own modules that it imports, at any depth.

    It depends on names and texts of the modules, not on the folder where they lie.
    """
    texts: dict[str, str] = {}
    waiting = [module.__spec__]
    while waiting:
        spec = waiting.pop()
        if spec is not None and spec.name not in texts and spec.origin is not None:
            texts[spec.name] = Path(spec.origin).read_text(encoding="utf-8")
            waiting += _own_imports(spec, texts[spec.name])
    digest = hashlib.sha256()
    for name in sorted(texts):
        digest.update(f"{name}\0{texts[name]}\0".encode())
    return digest.hexdigest()


def _own_imports(spec: ModuleSpec, text: str) -> Iterator[ModuleSpec]:
    """The researcher's own modules among those that the source ``text`` of ``spec`` imports."""
    for name in _imported_names(spec, text):
        # An installed package is known by its first name; to look for its parts would import it.
        if _is_own(_find(name.partition(".")[0])) and _is_own(found := _find(name)) and found is not None:
            yield found


def _imported_names(spec: ModuleSpec, text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, spec.parent)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _find(name: str) -> ModuleSpec | None:
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        return importlib.util.find_spec(name)
    return None


def _is_own(spec: ModuleSpec | None) -> bool:
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return spec is not None and spec.submodule_search_locations is not None and spec.origin is None
    path = Path(spec.origin).resolve()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    elsewhere = (library, Path(site.getusersitepackages()).resolve(), _PACKAGE)
    return not _INSTALLED & set(path.parts) and not any(path.is_relative_to(folder) for folder in elsewhere)
