"""`make push-` and `make pull` with HUB=hf://...: the real huggingface_hub and a server of the hub's protocol."""

import os
import subprocess
import sys

import pytest

from tests.report.test_hub_cards import ARMS, SIZE, finish
from tests.runs.hub_server import TOKEN, hub_server

# Of a table: show it, push it, pull it into an empty store, show it there.
TABLE = """
import os
from synthlib.__main__ import main
assert main(show) == main(push) == 0
os.environ["SYNTHLIB_OUTPUTS"] = elsewhere
assert main(["pull", "--hub", "hf://me/start"]) == main(show) == 0
"""
# Of small files: push two, then one of them in their place, and pull it; then push what is not the same.
FILES = """
from synthlib.errors import Failed
from synthlib.runs import hub

def push(place, what, *names):
    def fill(folder):
        (folder / "data").mkdir()
        for name in names:
            (folder / "data" / name).write_text(name)
        return "---\\nlicense: mit\\n---\\n"
    try:
        print(hub.push(fill, {"kind": "data", "datasets": what}, place))
    except Failed as error:
        print(error)

def pull(place):
    try:
        with hub.pulled(place) as (folder, what):
            print(what["datasets"], *sorted(path.name for path in (folder / "data").iterdir()))
    except Failed as error:
        print(error)

mine = "hf://datasets/me/mine"
push(mine, "mine", "a.hdf5", "b.yaml")
push(mine, "mine", "a.hdf5")
pull(mine)
push(mine, "yours", "c.hdf5")
push("hf://me/gpt2", "mine", "a.hdf5")
pull("hf://me/nothing")
"""


@pytest.fixture
def hub(tmp_path):
    """A function that runs a program in a process whose hub is the server, and what lies on the server."""

    def run(program, token=TOKEN):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        environment |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": token}
        environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1,localhost"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    with hub_server() as (address, repositories):
        yield run, repositories


def test_a_table_is_equal_behind_the_hub(hub, outputs, tmp_path):
    run, repositories = hub
    finish()
    show = ["show", "cql_start", *SIZE, *ARMS]
    push = ["push", "cql_start", *SIZE, *ARMS, "--hub", "hf://me/start"]
    said = run(f"{show = }; {push = }; elsewhere = {str(tmp_path / 'elsewhere')!r}\n{TABLE}")
    here, there = (part.partition("the same as CSV")[0] for part in said.split("CQL's learning curve")[1:3])
    assert here == there and "hopper-medium-expert" in here
    assert "/me/start" in said and "5 trainings pulled into" in said
    files = repositories["model", "me/start"]
    assert files["README.md"].startswith(b"---\nlicense: mit") and any(name.endswith(".safetensors") for name in files)


def test_a_push_replaces_the_one_before_and_nothing_of_somebody_else(hub):
    run, repositories = hub
    repositories["model", "me/gpt2"] = {"model.safetensors": b"weights", ".gitattributes": b""}
    made, again, pulled, other, foreign, nothing = run(FILES).splitlines()
    assert made == again and made.endswith("/datasets/me/mine")
    assert pulled == "mine a.hdf5"
    assert other == "hf://datasets/me/mine has something else (mine, data); name another place with HUB="
    assert foreign == "hf://me/gpt2 has files of something else; name another place with HUB="
    assert nothing.startswith("hf://me/nothing could not be fetched: ") and "404" in nothing
    assert repositories["model", "me/gpt2"].keys() == {"model.safetensors", ".gitattributes"}


def test_without_a_login_it_says_how(hub):
    run, repositories = hub
    said = run(FILES, token="another")
    assert "hf://datasets/me/mine did not take it: " in said and "401" in said and "Log in with `hf auth login`" in said
    assert not repositories
