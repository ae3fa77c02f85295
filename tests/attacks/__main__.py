"""``make attack``: every attack on the store in full length, and a table of what it did. Ten to thirty minutes."""

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

from tests.attacks import disks, power_cuts, processes


def attacks(folder, scale=1.0):
    """(name, function that returns a result) of each attack; ``scale`` of the full number of tries."""

    def tries(full):
        return max(1, round(full * scale))

    def new(name):
        made = folder / name
        made.mkdir()
        return made

    if not power_cuts.is_possible():
        print("power cuts are left out: only root may mount an image of a disk (ext4)", file=sys.stderr)
    else:
        yield "power cuts", lambda: power_cuts.attack(new("cuts"), tries(80))
        yield "power cuts without fsync", lambda: power_cuts.attack(new("cuts_without"), tries(20), sync=False)
    yield "stopped writers", lambda: processes.stopped_writers(new("stopped"), tries(60))
    yield "kills", lambda: processes.kills(new("kills"), tries(100))
    yield "races", lambda: processes.races(new("races"), tries(10))
    for number, kind in enumerate(disks.KINDS):
        yield (
            f"bit flips, {kind}",
            lambda number=number, kind=kind: disks.bit_flips(new(f"flips{number}"), tries(80), kind),
        )
    if not disks.may_mount():
        print("full disks are left out: only root may mount a small disk", file=sys.stderr)
    else:
        yield "full disks", lambda: disks.full_disks(new("full"), tries(40))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of tries (default: 1)")
    parser.add_argument("--only", default="", help="only the attacks with this text in their name, for example: kills")
    parser.add_argument("--output", help="a file for the table, in Markdown")
    options = parser.parse_args()
    lines = ["| attack | tries | lost | wrong | unclear |", "|---|---|---|---|---|"]
    print(*lines, sep="\n", flush=True)
    bad = False
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # so that the attack costs no real disk anything
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        began = time.monotonic()
        for name, attack in attacks(Path(folder), options.scale):
            if options.only not in name:
                continue
            result = attack()
            lines.append(result.line())
            print(lines[-1], flush=True)
            if "without fsync" in result.name:
                continue
            bad = bad or not result.is_clean
            for note in result.notes[:3]:
                print(note, file=sys.stderr)
    if len(lines) == 2:
        print(f"no attack has {options.only!r} in its name", file=sys.stderr)
        return 1
    seconds = time.monotonic() - began
    where = (
        f"Linux {platform.release()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d', time.gmtime())}"
    )
    words = "`make attack`: what was lost, wrong or unclear in how many tries; the second line is there for comparison."
    if options.output:
        Path(options.output).write_text("\n".join([words, f"{where}, {seconds / 60:.0f} minutes.", "", *lines, ""]))
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
