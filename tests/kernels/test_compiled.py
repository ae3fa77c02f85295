"""Where compiled functions are kept, and that each is compiled again when one of its sources has changed."""

import ast
import os
import subprocess
import sys

import pytest

from synthlib.kernels import compiled

DECORATORS = {
    "synthlib.kernels.compiled": {"exact", "jit", "compile_step"},
    "synthlib.kernels.twins": {"step"},
}


def test_what_is_kept_on_disk_depends_on_every_file_that_it_is_made_of():
    """Numba looks at the file of a function alone; a constant or a function of another file would be that of old."""
    decorated = []
    for path in compiled.HERE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "synthlib" in node.module]
        names = {node.module: {alias.name for alias in node.names} for node in ours}
        if any(names.get(module, set()) & decorators for module, decorators in DECORATORS.items()):
            decorated.append(str(path.relative_to(compiled.HERE).with_suffix("")))
            read = {f"{module}.{name}" for module, taken in names.items() for name in taken} | names.keys()
            files = {module.removeprefix("synthlib.").replace(".", "/") for module in read}
            files = {name for name in files if (compiled.HERE / f"{name}.py").exists()}
            assert files <= set(compiled.SOURCES), path
    assert len(decorated) >= 4 and set(decorated) <= set(compiled.SOURCES)
    assert compiled.cache_folder(["a", "b"]) != compiled.cache_folder(["a", "c"])


def test_machine_code_goes_where_the_user_says(monkeypatch, tmp_path):
    assert compiled.cache_folder(["a"]).parent == compiled.HERE / "__pycache__"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_folder(["a"]).parent == tmp_path


def test_only_our_functions_are_kept_in_our_folder(tmp_path):
    """Another package's cached functions in the same process stay where that package expects them."""
    theirs = tmp_path / "theirs.py"
    theirs.write_text(
        """
import numba
from synthlib.kernels import compiled, pcg64
import synthlib.cql.agent_fast

@numba.njit(cache=True)
def twice(x):
    return 2 * x

assert twice(2) == 4
print(pcg64.doubles.stats.cache_path)
print(twice.stats.cache_path)
"""
    )
    code = [sys.executable, str(theirs)]
    folders = subprocess.run(code, check=True, capture_output=True, text=True).stdout.split()
    assert folders[0].startswith(str(compiled._own_folder()))
    assert folders[1] == str(tmp_path / "__pycache__")


@pytest.mark.slow
def test_the_process_that_compiles_computes_the_same_bits_as_those_that_load(tmp_path):
    code = """
import hashlib, torch
from tests.kernels.test_steps import ARGUMENTS, run
for name in ARGUMENTS:
    print(name, [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in run("compiled", name, torch.float32)])
"""
    command = [sys.executable, "-c", code]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=compiled.HERE.parent)
        for _ in range(2)
    )
    assert first.stdout == second.stdout and "sample" in first.stdout
