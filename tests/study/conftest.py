import shutil

import pytest

from synthlib.study import params


@pytest.fixture
def own_params(tmp_path, monkeypatch):
    """A copy of params/ that a test may spoil or add to."""
    shutil.copytree(params.PARAMS, tmp_path / "params")
    monkeypatch.setattr(params, "PARAMS", tmp_path / "params")
    return tmp_path / "params"
