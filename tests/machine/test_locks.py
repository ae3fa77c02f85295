import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from synthlib.machine.locks import STALE_SECONDS, ClaimLost, holder, is_claimed, try_claim
from tests.common import needs_root, succeeds_for_another_user

CLAIM_AND_DIE = (
    "import os, sys; from synthlib.machine.locks import try_claim; try_claim(sys.argv[1]); os.kill(os.getpid(), 9)"
)
CLAIM_WHEN_TOLD = """
import sys
from synthlib.machine.locks import try_claim
sys.stdin.readline()
claim = try_claim(sys.argv[1])
print("mine" if claim else "taken", flush=True)
sys.stdin.readline()
"""


def test_only_one_holds_a_claim_until_it_is_released(tmp_path):
    first = try_claim(tmp_path)
    assert first and is_claimed(tmp_path)
    assert try_claim(tmp_path) is None
    first.release()
    assert not is_claimed(tmp_path)
    second = try_claim(tmp_path)
    assert second
    second.release()


def test_the_claim_of_a_killed_process_is_taken_over_at_once(tmp_path):
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)], check=False)
    assert (tmp_path / "claim.json").exists()
    assert not is_claimed(tmp_path)
    claim = try_claim(tmp_path)
    assert claim
    claim.release()


def test_of_many_processes_that_see_a_dead_claim_one_takes_it(tmp_path):
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)], check=False)
    command = [sys.executable, "-c", CLAIM_WHEN_TOLD, str(tmp_path)]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate("done\n")
    assert sorted(answers) == ["mine"] + ["taken"] * 5


def test_another_hosts_claim_is_stale_only_when_its_heart_has_stopped(tmp_path):
    path = tmp_path / "claim.json"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "theirs"}))
    assert try_claim(tmp_path) is None
    long_ago = time.time() - STALE_SECONDS - 10
    os.utime(path, (long_ago, long_ago))
    claim = try_claim(tmp_path)
    assert claim
    claim.release()


def test_a_container_with_this_hosts_name_has_processes_of_its_own(tmp_path):
    """Else its living owner, whose number is no process here, would count as killed."""
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)], check=False)
    path = tmp_path / "claim.json"
    claim = json.loads(path.read_text())
    assert not is_claimed(tmp_path) and claim["host"].startswith(socket.gethostname())
    path.write_text(json.dumps(claim | {"host": f"{socket.gethostname()} 1"}))
    assert is_claimed(tmp_path)


def test_who_lost_the_claim_writes_no_more(tmp_path):
    claim = try_claim(tmp_path)
    claim.check()
    (tmp_path / "claim.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "theirs"}))
    with pytest.raises(ClaimLost, match="taken over"):
        claim.check()
    claim.release()
    assert json.loads((tmp_path / "claim.json").read_text())["token"] == "theirs"


@needs_root
def test_another_user_sees_a_claim_without_writing(public_folder):
    claim = try_claim(public_folder)
    assert succeeds_for_another_user(lambda: is_claimed(public_folder))
    claim.release()
    assert succeeds_for_another_user(lambda: not is_claimed(public_folder))


def dated(path, seconds):
    """Put the last heartbeat of a lock so many seconds into the future."""
    when = time.time() + seconds
    os.utime(path, (when, when))


def test_a_claim_that_is_dated_ahead_blocks_no_longer_than_any_other(tmp_path):
    path = tmp_path / "claim.json"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "theirs"}))
    dated(path, 24 * 3600)
    assert try_claim(tmp_path) is None  # its owner may be alive
    assert holder(tmp_path).silent == pytest.approx(0, abs=5)
    dated(path, path.stat().st_mtime - time.time() - STALE_SECONDS - 1)  # and two minutes later
    claim = try_claim(tmp_path)
    assert claim
    claim.release()


def test_a_living_owner_keeps_a_claim_whose_date_was_ahead(tmp_path):
    claim = try_claim(tmp_path)
    dated(claim.path, 3600)
    assert try_claim(tmp_path) is None and is_claimed(tmp_path)
    claim.check()
    assert claim.path.stat().st_mtime == pytest.approx(time.time(), abs=5)
    claim.release()
    assert not is_claimed(tmp_path)


def test_a_killed_owner_of_this_host_is_noticed_whatever_the_date(tmp_path):
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)], check=False)
    dated(tmp_path / "claim.json", 3600)
    assert not is_claimed(tmp_path)


def test_the_holder_says_who_it_is_and_how_long_it_is_silent(tmp_path):
    assert holder(tmp_path) is None
    claim = try_claim(tmp_path)
    assert holder(tmp_path).is_here and str(holder(tmp_path)) == f"process {os.getpid()} on this machine"
    claim.release()
    path = tmp_path / "claim.json"
    path.write_text(json.dumps({"host": "node7 4026531836", "pid": 11, "token": "theirs"}))
    dated(path, -30)
    assert str(holder(tmp_path)) == "process 11 on node7" and holder(tmp_path).silent == pytest.approx(30, abs=5)
    dated(path, -STALE_SECONDS - 1)
    assert holder(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '{"host": "node7"}'])
def test_a_claim_that_is_not_complete_is_waited_for_two_minutes(text, tmp_path):
    path = tmp_path / "claim.json"
    path.write_text(text)
    assert try_claim(tmp_path) is None and str(holder(tmp_path)) == "another process"
    dated(path, -STALE_SECONDS - 1)
    claim = try_claim(tmp_path)
    assert claim
    claim.release()


def test_a_folder_that_may_only_be_read_can_be_asked_too():
    with tempfile.TemporaryDirectory() as folder:  # not under tmp_path, whose parents other users may not enter
        os.chmod(folder, 0o755)
        (Path(folder) / "claim.json").write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "theirs"}))
        me = os.geteuid()
        if me == 0:  # root may write everywhere
            os.seteuid(65534)
        else:
            os.chmod(folder, 0o555)
        try:
            assert is_claimed(folder) and str(holder(folder)) == "process 1 on elsewhere"
        finally:
            os.seteuid(me)
            os.chmod(folder, 0o755)
