"""Power cuts: a real ext4 is copied while a process trains on it, mounted as after a cut, and read.

The image holds what had reached the disk: what was only in the memory of the machine is missing in the copy.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

from synthlib.machine import files, owners
from synthlib.runs.store import Store
from tests.attacks.judge import Result, age_lock, finish, judge, said, truth
from tests.attacks.toys import plan

_MEGABYTES = 96


def is_possible():
    """Whether this user may mount an image."""
    return os.geteuid() == 0 and shutil.which("mkfs.ext4") is not None and os.path.exists("/dev/loop-control")


def attack(folder, tries, random_seed=0, sync=True):
    """``sync=False`` shows what it is like without fsync."""
    result, chance = Result("power cut, ext4" if sync else "the same without fsync"), random.Random(random_seed)
    image, copy, disk, after = (folder / name for name in ("image", "copy", "disk", "after"))
    with open(image, "wb") as file:
        file.truncate(_MEGABYTES << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    disk.mkdir()
    after.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(disk)], check=True)
    command = [sys.executable, "-m", "tests.attacks.power_cuts", str(disk), "sync" if sync else "no sync"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE)
    ended = 0
    try:
        os.set_blocking(writer.stdout.fileno(), False)
        while not ended:  # until it has started
            ended += len(writer.stdout.read() or b"")
            assert writer.poll() is None, "the process that trains has ended"
            time.sleep(0.05)
        for _ in range(tries):
            time.sleep(chance.uniform(0.02, 1.0))
            os.kill(writer.pid, signal.SIGSTOP)
            ended += len(writer.stdout.read() or b"")
            _copy(image, copy)
            os.kill(writer.pid, signal.SIGCONT)
            with result.attempt():
                _look(copy, after, ended, result, folder)
    finally:
        writer.kill()
        writer.wait()
        subprocess.run(["umount", str(disk)], check=True)
        image.unlink()
    return result


def _copy(image, copy):
    """Copy the image until two copies in a row are equal: the kernel must not write in the middle."""
    before = None
    while (content := image.read_bytes()) != before:
        before = content
    copy.write_bytes(content)


def _look(copy, after, ended, result, folder):
    """Mount the copy, as at the start after a cut, and judge every training that had ended, and the next two."""
    subprocess.run(["mount", "-o", "loop", str(copy), str(after)], check=True)
    try:
        store = Store(after / "store", after / "records")
        with said():
            for claim in store.root.glob("*/*/claim.json"):
                age_lock(claim.parent)
            for place in range(max(ended - 30, 0), ended + 2):
                seed, which = divmod(place, 2)
                judge(result, store, plan([seed])[which], truth(folder, seed), has_ended=place < ended)
    finally:
        subprocess.run(["umount", str(after)], check=True)


def _write(disk, sync):
    """Train one job after the other, and print a byte after each."""
    owners._boot = lambda: "before the cut"  # its locks are read after the next start of the machine
    if not sync:
        files.sync = lambda path: None
    store = Store(f"{disk}/store", f"{disk}/records")
    for seed in range(100_000):
        for job in plan([seed], pause=0.0005):
            finish(store, job)
            os.write(1, b".")


if __name__ == "__main__":
    _write(sys.argv[1], sys.argv[2] == "sync")
