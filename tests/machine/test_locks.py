import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from synthlib.machine import locks
from synthlib.machine.files import write_atomically
from synthlib.machine.locks import STALE_SECONDS, WATCHED_SECONDS, ClaimLost, holder, is_claimed, try_claim
from synthlib.machine.owners import owner_of_this_process
from tests.common import needs_root, needs_unshare, succeeds_for_another_user

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


@pytest.fixture
def passed(monkeypatch):
    """A list of one number: seconds that the clock of this process, but no clock of a disk, has gone on."""
    seconds, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(locks.time, "monotonic", lambda: monotonic() + seconds[0])
    return seconds


def foreign(folder, **changes):
    """The lock file of a process on another machine."""
    path = folder / "claim.json"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "theirs"} | changes))
    return path


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


def test_another_hosts_claim_is_taken_only_when_its_heart_has_stopped(tmp_path, passed):
    path = foreign(tmp_path)
    assert try_claim(tmp_path) is None
    dated(path, -STALE_SECONDS - 10)
    assert not is_claimed(tmp_path) and try_claim(tmp_path) is None  # a date alone may come from a clock that jumped
    passed[0] += WATCHED_SECONDS + 1
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
def test_who_lost_the_claim_is_told_so_when_the_half_written_file_is_gone_too(tmp_path):
    """As after a stop in the middle of a write: the successor has taken the lock and removed what was half written."""
    claim = try_claim(tmp_path)

    def write(temporary):
        temporary.unlink()
        (tmp_path / locks.NAME).unlink()

    with pytest.raises(ClaimLost):
        write_atomically(tmp_path / "x.txt", write, claim.held)
    with pytest.raises(FileNotFoundError):  # nobody took over: the loss of the file itself is told
        write_atomically(tmp_path / "x.txt", lambda temporary: temporary.unlink())
    claim.release()


def test_another_user_sees_a_claim_without_writing(public_folder):
    claim = try_claim(public_folder)
    assert succeeds_for_another_user(lambda: is_claimed(public_folder))
    claim.release()
    assert succeeds_for_another_user(lambda: not is_claimed(public_folder))


def dated(path, seconds):
    """Put the last heartbeat of a lock so many seconds into the future."""
    when = time.time() + seconds
    os.utime(path, (when, when))


def test_a_claim_that_is_dated_ahead_blocks_no_longer_than_any_other(tmp_path, passed):
    dated(foreign(tmp_path), 24 * 3600)
    assert try_claim(tmp_path) is None  # its owner may be alive
    assert holder(tmp_path).silent == pytest.approx(0, abs=5)
    passed[0] += STALE_SECONDS + 1
    claim = try_claim(tmp_path)
    assert claim
    claim.release()


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_living_owner_elsewhere_keeps_its_claim_when_a_clock_jumps(hours, tmp_path, passed):
    path = foreign(tmp_path)
    for beat in range(30):  # five minutes; every heartbeat has a wrong date
        dated(path, hours * 3600 + 10 * beat)
        assert try_claim(tmp_path) is None
        passed[0] += 10


def test_a_living_owner_here_keeps_its_claim_whatever_its_date_and_says_nothing(tmp_path, passed):
    path = tmp_path / "claim.json"
    path.write_text(json.dumps(owner_of_this_process() | {"token": "ours"}))  # as if the process were stopped
    dated(path, -24 * 3600)
    for _ in range(3):
        passed[0] += 24 * 3600
        assert try_claim(tmp_path) is None and is_claimed(tmp_path)
    assert holder(tmp_path).is_here and holder(tmp_path).silent > 80_000


def test_a_number_that_another_process_has_by_now_is_no_owner(tmp_path):
    path = tmp_path / "claim.json"
    owner = owner_of_this_process()
    if owner["started"] is None:
        pytest.skip("this system does not say when a process was started")
    path.write_text(json.dumps(owner | {"token": "theirs", "started": owner["started"] - 1}))
    assert not is_claimed(tmp_path)
    try_claim(tmp_path).release()


def test_another_boot_of_this_host_is_not_here(tmp_path, passed):
    """Two machines may have one name and the same first process namespace: neither displaces the other at once."""
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)], check=False)
    path = tmp_path / "claim.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot": "another"}))
    assert is_claimed(tmp_path) and try_claim(tmp_path) is None and not holder(tmp_path).is_here
    dated(path, -STALE_SECONDS - 1)
    assert try_claim(tmp_path) is None
    passed[0] += WATCHED_SECONDS + 1
    try_claim(tmp_path).release()


@needs_unshare
def test_two_containers_with_one_host_name_do_not_displace_each_other(tmp_path):
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", CLAIM_WHEN_TOLD, str(tmp_path)]
    first, second = (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    answers = []
    for racer in (first, second):  # each is process 1 of its own namespace
        racer.stdin.write("go\n")
        racer.stdin.flush()
        answers.append(racer.stdout.readline().strip())
    assert answers == ["mine", "taken"] and is_claimed(tmp_path)
    for racer in (first, second):
        racer.communicate("done\n")


def test_a_takeover_waits_for_the_rename_that_goes_on(tmp_path, monkeypatch):
    """Else a process that is stopped between check and rename would write over what its successor has finished."""
    claim = try_claim(tmp_path)
    monkeypatch.setattr(locks, "_may_be_taken", lambda folder: True)  # as if the owner's heart had stopped
    with claim.held():
        assert try_claim(tmp_path) is None
    second = try_claim(tmp_path)
    with pytest.raises(ClaimLost), claim.held():
        raise AssertionError("this write must not happen")
    second.release()
    claim.release()


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    folder = tmp_path / "training"
    folder.mkdir()
    (folder / ".takeover").symlink_to(victim)
    foreign(folder)
    with pytest.raises(OSError), locks._exclusively(folder):
        pass
    assert victim.read_text() == "precious"


def test_a_claim_leaves_nothing_behind(tmp_path):
    claim = try_claim(tmp_path)
    with claim.held():
        pass
    claim.release()
    subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path)], check=False)
    try_claim(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


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
def test_a_claim_that_is_not_complete_is_waited_for_two_minutes(text, tmp_path, passed):
    path = tmp_path / "claim.json"
    path.write_text(text)
    assert try_claim(tmp_path) is None and str(holder(tmp_path)) == "another process"
    passed[0] += STALE_SECONDS + 1
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
