import shutil

import pytest
import yaml

from synthlib.study import params, presets


@pytest.fixture
def own_params(tmp_path, monkeypatch):
    """A copy of params/ that a test may spoil or add to."""
    shutil.copytree(params.PARAMS, tmp_path / "params")
    for reader in (params, presets):
        monkeypatch.setattr(reader, "PARAMS", tmp_path / "params")
    return tmp_path / "params"


@pytest.fixture
def spoil(own_params):
    """A function that changes the fields of a file in :func:`own_params`."""

    def spoil(name, change):
        path = own_params / f"{name}.yaml"
        fields = yaml.safe_load(path.read_text())
        change(fields)
        path.write_text(yaml.safe_dump(fields, sort_keys=False))

    return spoil
