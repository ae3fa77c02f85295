import json

from synthlib.machine.description import describe_environment


def test_it_names_the_machine_and_what_may_change_a_number(monkeypatch):
    monkeypatch.delenv("SYNTHLIB_DEVICE", raising=False)
    found = describe_environment()
    assert json.loads(json.dumps(found)) == found
    assert found["device"] == "cpu" and found["processor"] and found["host"]
    assert {"torch", "numpy", "gymnasium", "mujoco", "transformers", "python"} <= found.keys()
    assert found["started"].endswith("Z")
