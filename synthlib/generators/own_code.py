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
import sysconfig
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED = {"site-packages", "dist-packages"}


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
