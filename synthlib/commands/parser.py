"""The words of the command line: commands, options and their default values.

Nothing here loads PyTorch, so that the help text comes at once.
"""

import argparse
import math

from synthlib.commands.cluster import add_options
from synthlib.commands.options import absolute_or_empty
from synthlib.study.contents import sections
from synthlib.study.figures import names_of_all
from synthlib.study.pages import page_names
from synthlib.study.presets import presets

OF_A_TABLE = ("plan", "run", "status", "reproduce", "show", "publish", "export-runs", "watch", "push")
_DATA_HELP = "replica, d4rl or path:DIR (default: replica)"


def parser() -> argparse.ArgumentParser:
    """The parser of ``synthlib COMMAND``; what it returns has the command's name in ``command``."""
    made = argparse.ArgumentParser(prog="synthlib", description="The commands behind the Makefile.")
    commands = made.add_subparsers(dest="command", required=True)
    known = dict.fromkeys([*names_of_all(), *page_names(), *(section.name for section in sections())])
    for name, text in (
        ("plan", "print what a table or figure needs and how long it takes; run nothing"),
        ("run", "train what is missing"),
        ("status", "how far the trainings are, here or in a queue, and what has failed"),
        ("reproduce", "train what is missing, execute the notebook, print the table"),
        ("show", "print the table from the runs that are done; train nothing"),
        ("watch", "play an episode of a fine-tuned policy, film it and print its score"),
        ("publish", "copy a table's finished runs into outputs/records, which belongs to the repository"),
        ("export-runs", "write a table's finished runs to one file, with checksums"),
        ("import-runs", "put the runs of such a file into the store here"),
        ("export", "all trainings as tables, or for a tracker: csv, parquet, tensorboard, wandb"),
        ("push", "finished trainings, policies and their card to a folder or to the Hugging Face hub"),
        ("push-data", "data sets and their card to such a place"),
        ("pull", "take trainings or data sets from such a place"),
        ("notebook", "execute one notebook"),
        ("scoreboard", "every claim of the paper beside what all finished runs say"),
        ("check-authors", "the paper's DT tables out of the authors' own runs, digit by digit"),
        ("doctor", "check the installation"),
    ):
        command = commands.add_parser(name, help=text)
        if name == "notebook":
            command.add_argument("notebook", metavar="NOTEBOOK", help="its file's name, without .ipynb")
        if name in OF_A_TABLE:
            command.add_argument("table", metavar="TABLE", help=f"one of: {', '.join(known)}, all")
            command.add_argument("--source", default="own", help="own or authors: whose runs (default: own)")
            command.add_argument("--shard", default="0/1", metavar="I/N", help="train the I-th of N parts (I from 0)")
        if name in ("export-runs", "import-runs"):
            command.add_argument("--file", required=True, metavar="FILE", help="the archive, for example runs.tar")
        if name in ("push", "push-data", "pull"):
            command.add_argument("--hub", default="", metavar="HUB", help="a folder, or hf://user/name")
        if name in ("push", "push-data"):
            command.add_argument("--license", default="", help="as the hub calls it, for example cc-by-4.0")
        if name == "push":
            command.add_argument("--only", default="all", choices=("all", "weights"), help="pre-trained weights alone")
        if name == "pull":
            command.add_argument("--to", default="", metavar="FOLDER", help="where data sets go")
        if name == "export":
            command.add_argument("--format", default="csv", help="csv, parquet, tensorboard or wandb (default: csv)")
            command.add_argument("--to", default="", metavar="FOLDER", help="default: export/ in the outputs folder")
        if name in ("run", "reproduce"):
            command.add_argument("--stacked", action="store_true", help="runs of one shape at once, as always on a GPU")
        if name == "run":
            command.add_argument("--hours", type=_hours, default=math.inf, help="save and end after so many hours")
            add_options(command)
        if name in ("plan", "run", "status", "show", "reproduce", "watch", "push", "push-data"):
            command.add_argument("--arms", default="", metavar="A;B", help="only these columns (default: all)")
            command.add_argument(
                "--datasets", default="", metavar="A B", help="these data sets (default: the preset's)"
            )
            command.add_argument("--seeds", default="", metavar="N", help="the first N seeds, or n;m;...")
        if name == "push-data":
            command.add_argument("--data", default="replica", type=_data, help=_DATA_HELP)
        if name in (*OF_A_TABLE, "notebook", "scoreboard"):
            command.add_argument("--preset", default="quick", help=f"one of: {', '.join(presets())} (default: quick)")
            command.add_argument("--data", default="replica", type=_data, help=_DATA_HELP)
            command.add_argument(
                "--workers", type=int, default=0, help="processes (default: one per processor; on a GPU one)"
            )
        if name == "doctor":
            command.add_argument("--preset", default="quick", help=f"one of: {', '.join(presets())} (default: quick)")
            command.add_argument("--data", default="replica", type=_data, help=_DATA_HELP)
            command.add_argument("--store", action="store_true", help="verify all trainings and caches instead")
        else:
            command.add_argument(
                "--logs", default="", help="the authors' logs: a clone or a CSV (default: the repository's own table)"
            )
    return made


def _data(text: str) -> str:
    """The source of data with an absolute folder: notebooks run in a folder of their own."""
    return f"path:{absolute_or_empty(text[5:])}" if text.startswith("path:") else text


def _hours(text: str) -> float:
    hours = float(text or "inf")
    if not hours > 0:
        raise argparse.ArgumentTypeError(f"must be more than 0 hours, not {text}")
    return hours
