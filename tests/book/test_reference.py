"""The page of the public names is made of the source, and says what Python itself says."""

import importlib
import inspect

import pytest

from synthlib.book import reference
from synthlib.book.reference import NAMES, reference_page

PUBLIC = [(module, name) for modules in NAMES.values() for module, names in modules.items() for name in names]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda part: part)
def test_each_name_can_be_imported_and_stands_there_with_its_first_sentence(module, name):
    found = getattr(importlib.import_module(module), name)
    page = reference_page()
    assert f"### {name}\n\n```python\nfrom {module} import {name}\n" in page
    entry = page.split(f"from {module} import {name}\n")[1].split("\n### ")[0]
    if inspect.isfunction(found):
        for parameter in inspect.signature(found).parameters:
            assert parameter in entry.split("```")[0]
    words = [word for word in inspect.getdoc(found).split(".")[0].split() if word.isalpha()]
    assert all(word in entry for word in words) and words


def test_methods_have_a_line_each_and_private_ones_none():
    page = reference_page()
    assert "`Store.evaluations`: The evaluations up to the job's length" in page
    assert "Store._finished" not in page


def test_marks_of_the_docstrings_become_code():
    page = reference_page()
    assert ":func:" not in page and ":class:" not in page and "``" not in page.replace("```", "")


def test_a_name_that_is_gone_is_an_error(monkeypatch):
    monkeypatch.setitem(NAMES, "CQL", {"synthlib.cql.agent": ("gone",)})
    with pytest.raises(ValueError, match=r"synthlib.cql.agent has no gone"):
        reference.reference_page()
