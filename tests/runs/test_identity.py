from dataclasses import dataclass

from synthlib.runs.identity import added_later, identity_of


@dataclass(frozen=True)
class Settings:
    width: int
    depth: int = 3
    unit: float = added_later(1000.0)


def test_a_later_field_is_no_part_of_the_identity_until_it_differs():
    assert identity_of(Settings(8)) == {"width": 8, "depth": 3}
    assert identity_of(Settings(8, unit=1000)) == {"width": 8, "depth": 3}
    assert identity_of(Settings(8, unit=10.0)) == {"width": 8, "depth": 3, "unit": 10.0}


def test_the_configuration_comes_back_from_its_identity():
    for config in (Settings(8), Settings(8, unit=10.0)):
        assert Settings(**identity_of(config)) == config
