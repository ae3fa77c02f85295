"""``python -m synthlib.replica``: make the replica data and the behaviour policies that collect them.

collect   roll out the committed policies to any size (``make replica SIZE=n``)
train     train behaviour policies by TD3; resumes a training that was interrupted (hours)
pick      choose the medium and the expert policy of each training for the embedded data
embed     make the embedded files anew from the committed policies and the trainings' replay buffers
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from synthlib.paths import outputs
from synthlib.replica.collection import EMBEDDED_SIZE, embed, regenerate
from synthlib.replica.selection import keep_both
from synthlib.replica.training import settings, train
from synthlib.tasks import ENVIRONMENTS, MASSES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _collect(options: argparse.Namespace) -> None:
    folder = options.folder or outputs() / f"replica-{options.size}"
    where = options.environments, options.size, folder, options.trainings
    regenerate(*where, options.processes, masses=options.masses)
    print(f"use it with DATA=path:{folder}")


def _train(options: argparse.Namespace) -> None:
    for environment in options.environments:
        train(settings(environment, options.steps), options.trainings / environment)


def _pick(options: argparse.Namespace) -> None:
    for environment in options.environments:
        keep_both(environment, options.trainings / environment, options.processes)


def _embed(options: argparse.Namespace) -> None:
    embed(options.environments, options.trainings, options.size, options.processes)


def _parser() -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="synthlib.replica", description=__doc__, formatter_class=formatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in (("collect", _collect), ("train", _train), ("pick", _pick), ("embed", _embed)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--environments", nargs="+", default=ENVIRONMENTS, choices=ENVIRONMENTS)
        trainings = outputs() / "behaviour"
        command.add_argument("--trainings", type=Path, default=trainings, help="their folder (%(default)s)")
        if name in ("collect", "embed"):
            size = "transitions per tier (%(default)s)"
            command.add_argument("--size", type=_transitions, default=EMBEDDED_SIZE, help=size)
        if name == "collect":
            command.add_argument("--folder", type=Path, help="where to write (default: outputs/replica-SIZE)")
            command.add_argument("--masses", choices=MASSES, help="default: those that the policies were trained under")
        if name == "train":
            command.add_argument("--steps", type=int, help="length of each training (default: by environment)")
        else:
            command.add_argument("--processes", type=int, help="default: one per core that this process may use")
    return parser


def _transitions(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least one transition is needed")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
