"""``make selfcheck DEVICE=cuda``: is what this device computes what the processor computes, which is proved?

Runs the tests that follow the chosen device: golden vectors, a column of runs against separate ones, a resumed one, its
noise, for CQL, the Decision Transformer and GPT-2. On a GPU, the memory that a run takes stands beside what its shapes
say. The result goes to ``selfcheck.json`` beside the device's bench.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from synthlib.bench import columns
from synthlib.bench.__main__ import default_folder
from synthlib.bench.measure import machine
from synthlib.bench.page import memory_sentence
from synthlib.machine.devices import CPU, chosen, describe
from synthlib.machine.files import write_json
from synthlib.paths import ROOT


class Outcomes:
    """A plugin of pytest that keeps what became of each test."""

    def __init__(self) -> None:
        self.of_test: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Called by pytest for set-up, call and tear-down of a test."""
        if report.when == "call" or report.outcome != "passed":
            self.of_test[report.nodeid] = report.outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks on the chosen device; returns pytest's exit status."""
    parser = argparse.ArgumentParser(prog="synthlib.bench.selfcheck", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="only the checks that match, as pytest's -k")
    only = parser.parse_args(arguments).k
    outcomes, began = Outcomes(), time.perf_counter()
    checks = ["-q", "-m", "device", "-p", "no:cacheprovider", *(["-k", only] if only else []), str(ROOT / "tests")]
    status = pytest.main(checks, plugins=[outcomes])
    facts = machine() | {"seconds": round(time.perf_counter() - began, 1), "outcomes": outcomes.of_test}
    if chosen() != CPU:
        facts["memory_of_a_run"] = columns.memory_beside_shapes()
        print("\n".join(map(memory_sentence, facts["memory_of_a_run"], facts["memory_of_a_run"].values())))
    folder = default_folder()
    folder.mkdir(parents=True, exist_ok=True)
    command = facts["command"].replace("bench-avx2", "selfcheck").replace("bench", "selfcheck")
    write_json(folder / "selfcheck.json", facts | {"command": command})
    passed = sum(outcome == "passed" for outcome in outcomes.of_test.values())
    print(
        f"{describe(chosen())}: {passed} of {len(outcomes.of_test)} checks passed; written to {folder}/selfcheck.json"
    )
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
