from dataclasses import asdict, dataclass, field

from synthlib.runs.identity import added_later, as_dict, identity_of


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


@dataclass(frozen=True)
class Nested:
    inside: Settings
    widths: tuple[int, ...] = (3, 4)
    names: list[str] = field(default_factory=lambda: ["a"])


def test_a_configuration_as_a_dict_is_what_dataclasses_make_of_it_and_shares_nothing():
    nested = Nested(Settings(8))
    for config in (Settings(8, unit=0.5), nested):
        assert as_dict(config) == asdict(config) and list(as_dict(config)) == list(asdict(config))
    as_dict(nested)["names"].append("b")
    as_dict(nested)["inside"]["width"] = 9
    assert nested == Nested(Settings(8))
