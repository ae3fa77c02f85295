import subprocess
import sys

import pytest

from tests.common import ROOT
from tests.offline.fuzz_hdf5 import turns


@pytest.mark.slow
def test_every_change_of_a_file_is_loaded_right_or_refused_in_a_sentence():
    """The short version; `python -m tests.offline.fuzz_hdf5` makes thousands of files."""
    command = [sys.executable, "-m", "tests.offline.fuzz_hdf5", "--tries", str(len(turns()))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(f"{len(turns())} files, 0 findings\n")
