"""``make lab``: bring the copies of the pages up to date, then become JupyterLab."""

import os
import sys
from pathlib import Path

from synthlib.lab.copies import update
from synthlib.paths import LAB, NOTEBOOKS, ROOT

SETTINGS = Path(__file__).parent / "settings"
FIRST = "00_start_here.ipynb"


def command(options: list[str], is_root: bool) -> list[str]:
    """The command line of JupyterLab: the whole repository is in reach, and the first page is open."""
    ours = [f"--ServerApp.root_dir={ROOT}", f"--LabApp.default_url=/lab/tree/{LAB.name}/{FIRST}"]
    if is_root:  # the usual user of a container; Jupyter wants to be told that this is meant
        ours.append("--allow-root")
    if any(option.split("=")[0] in ("--ip", "--ServerApp.ip") for option in options):
        ours.append("--no-browser")  # it is meant for a browser elsewhere
    return [sys.executable, "-m", "jupyterlab", *ours, *options]


def main() -> int:
    """Returns 1 after an error that is told in words; else this process becomes JupyterLab."""
    try:
        for line in update(NOTEBOOKS, LAB):
            print(line)
    except OSError as error:
        print(f"error: the copies of the pages cannot be written: {error}", file=sys.stderr)
        return 1
    print(f"JupyterLab opens copies of the pages, in {LAB.name}/: save as you like, git does not see them", flush=True)
    path = os.pathsep.join(filter(None, [str(SETTINGS), os.environ.get("JUPYTER_CONFIG_PATH")]))
    words = command(sys.argv[1:], os.geteuid() == 0)
    os.execve(words[0], words, os.environ | {"JUPYTER_CONFIG_PATH": path})


if __name__ == "__main__":
    sys.exit(main())
