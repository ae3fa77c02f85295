import pytest
import yaml

from synthlib.yaml_text import parsed


def test_values_are_the_callers_own():
    text = "arms: {CQL: {seeds: [1, 2]}, other: null}\nratio: 1e-2\nday: 2026-01-02"
    first = parsed(text)
    assert first == yaml.safe_load(text)
    first["arms"]["CQL"]["seeds"].append(3)
    del first["ratio"]
    assert parsed(text) == yaml.safe_load(text)


def test_what_is_no_yaml_is_refused_every_time():
    for _ in range(2):
        with pytest.raises(yaml.YAMLError, match="flow sequence"):
            parsed("arms: [1, 2")
