"""The pages OWN_*.md, executed as a new user would: in an empty folder, file by file and command by command."""

import os
import re
import subprocess
import sys

import pytest

from synthlib.paths import ROOT

# {page: what lies in the folder at the end, a file below the outputs that was made}
PAGES = {
    "OWN_DATA.md": (
        {"my_data.py", "mine.yaml", "my_dynamics.py", "my_cql.yaml"},
        "smoke/mine/own_tokens.png",
    ),
    "OWN_RUNS.md": (
        {"make_gpt2.py", "my_gpt2", "foreign.yaml", "my_robots.py", "record.py", "carts.yaml", "data"}
        | {"shared", "shared_data", "there", "elsewhere", "tables"},
        "store/cql/*/policy_40.pt",
    ),
}


def blocks(page):
    """[(language, text)] of the code blocks of a page."""
    return re.findall(r"```(python|yaml|console)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def commands(block):
    """[(command, lines that its output must have)] of a console block."""
    found = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_a_file_or_commands(page):
    found = blocks(page)
    assert {kind for kind, _ in found} == {"python", "yaml", "console"}
    assert (ROOT / page).read_text().count("```") == 2 * len(found)
    for kind, block in found:
        assert block.startswith("$ " if kind == "console" else "# ")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_page_works_from_an_empty_folder(page, tmp_path):
    home, programs = tmp_path / "mine", tmp_path / "bin"
    home.mkdir()
    programs.mkdir()
    # As pip installs it: without the folder where the command is typed on the path.
    (programs / "synthlib").write_text(f'#!/bin/sh\nexec {sys.executable} -P -m synthlib "$@"\n')
    (programs / "synthlib").chmod(0o755)
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SYNTHLIB_OUTPUTS": str(tmp_path / "outputs"),
        "OMP_NUM_THREADS": "1",
    }
    for kind, block in blocks(page):
        if kind != "console":
            (home / block.split()[1]).write_text(block)
            continue
        for command, expected in commands(block):
            if command.startswith("export "):
                name, value = command.removeprefix("export ").split("=", 1)
                environment |= {} if name == "PATH" else {name: value}
                continue
            done = subprocess.run(["bash", "-c", command], cwd=home, env=environment, capture_output=True, text=True)
            said = done.stdout + done.stderr
            assert done.returncode == (1 if any(line.startswith("error: ") for line in expected) else 0), said
            for line in expected:
                assert line.removesuffix("...").strip() in said, f"{command} does not say: {line}\n{said}"
    left, made = PAGES[page]
    assert {path.name for path in home.glob("*")} - {"__pycache__"} == left
    assert list((tmp_path / "outputs").glob(made))
