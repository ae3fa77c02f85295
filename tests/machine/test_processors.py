"""How many processors a command uses: what the process is allowed, not what the machine has."""

import os
import subprocess
import sys

import pytest

from synthlib.machine.processors import usable_processors
from tests.common import ROOT

VERSION_1 = "5:memory:/\n3:cpu,cpuacct:/docker/abc\n"


@pytest.mark.parametrize(
    ("groups", "limits", "processors"),
    [
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),  # docker run --cpus 1
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/job/task\n", {"job/cpu.max": "300000 100000\n", "job/task/cpu.max": "max 100000\n"}, 3),
        ("0::/only/on/the/host\n", {"cpu.max": "50000 100000\n"}, 1),
        (VERSION_1, {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 2),
        (VERSION_1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 8),
        ("0::/\n", {}, 8),
        (None, {}, 8),  # macOS
    ],
)
def test_a_limit_of_processor_time_counts(groups, limits, processors, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, text in limits.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    assert usable_processors(tmp_path) == processors


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can bind a process")
def test_the_plan_of_a_process_bound_to_one_processor_says_one(outputs):
    done = subprocess.run(
        [sys.executable, "-m", "synthlib", "plan", "table6", "--preset", "smoke"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    )
    assert " minutes on 1 core;" in done.stdout, done.stderr
