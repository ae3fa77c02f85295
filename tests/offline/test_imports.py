"""A table of the paper, a data set or a plan is read without a simulator; only making an environment needs one."""

import subprocess
import sys

import pytest

from synthlib.paths import ROOT

PROGRAM = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted({"mujoco", "gymnasium"} & sys.modules.keys()))
"""


@pytest.mark.parametrize(
    "module",
    ["synthlib.paper", "synthlib.offline.datasets", "synthlib.offline.evaluation", "synthlib.study.plan"],
)
def test_importing_needs_no_simulator(module):
    done = subprocess.run([sys.executable, "-c", PROGRAM, module], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
