"""Every public function of the package says what goes in and what comes out."""

import ast

import pytest

from tests.common import ROOT

FILES = sorted((ROOT / "synthlib").rglob("*.py"))


def public_functions(tree):
    """Functions and methods whose names, and whose classes' names, have no leading underscore; and ``__init__``."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (member for member in node.body if isinstance(member, ast.FunctionDef))
        elif isinstance(node, ast.FunctionDef):
            yield node


def missing_annotations(function):
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    missing = [
        one.arg for one in given if one is not None and one.annotation is None and one.arg not in ("self", "cls")
    ]
    return missing + ([] if function.returns or function.name == "__init__" else ["return"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "synthlib")))
def test_public_functions_are_annotated(path):
    for function in public_functions(ast.parse(path.read_text(encoding="utf-8"))):
        if function.name == "__init__" or not function.name.startswith("_"):
            missing = missing_annotations(function)
            assert not missing, f"{path.name}:{function.lineno} {function.name}: {', '.join(missing)}"
