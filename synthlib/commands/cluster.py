"""Commands on trainings through a queue: ``run --engine``, and ``status``, which tells how far they are."""

import argparse
import math
from typing import TYPE_CHECKING

from synthlib.commands.options import names, selection
from synthlib.errors import Failed
from synthlib.machine.switches import may_train
from synthlib.study.params import ParameterError

if TYPE_CHECKING:
    from synthlib.study.cluster import Request

HERE = "here"
_HOURS, _LEAST_HOURS = 4.0, 1 / 30
_STACKED = 20  # trainings of one job, for want of a number


def add_options(command: argparse.ArgumentParser) -> None:
    """The options of ``run`` that say where to train, and what a queue is asked for."""
    engines = (HERE, "slurm", "local")
    command.add_argument("--engine", default=HERE, type=_engine, metavar="|".join(engines), help="who trains")
    command.add_argument("--partition", default="", help="of Slurm")
    command.add_argument("--account", default="", help="of Slurm")
    command.add_argument("--cpus", type=_count, default=0, help="of a job of the queue (default: one per worker)")
    command.add_argument("--gpus", type=_count, default=0, help="of a job of the queue")
    command.add_argument("--memory", type=_gigabytes, default=0.0, metavar="GB", help="of a job of the queue")
    command.add_argument("--parallel", type=_count, default=0, help="jobs that may run at a time (default: all)")
    command.add_argument("--per-job", type=_count, default=0, help="trainings of one job (default: 1; stacked: 20)")
    command.add_argument("--watch", default="yes", help="no: submit, and do not wait for the end")


def run_in_queue(options: argparse.Namespace) -> int:
    """``run TABLE --engine slurm``: submit what is missing, and watch the store until it is done."""
    from synthlib.study.cluster import QueueOptions
    from synthlib.study.submission import submit, watch

    if options.shard != "0/1":
        raise ParameterError("a queue needs no shards: leave --shard out, or ENGINE")
    if options.watch not in ("yes", "no"):
        raise ParameterError(f"WATCH={options.watch} is unknown; say WATCH=no to submit only, or leave it out")
    if not may_train():
        raise ParameterError("TRAIN=no trains nothing, so there is nothing to submit: leave it or ENGINE out")
    hours = _HOURS if math.isinf(options.hours) else options.hours
    if hours < _LEAST_HOURS:
        raise ParameterError(f"HOURS={hours:g} is less than two minutes, too short for a job of a queue")
    wanted = request(options)
    asked = QueueOptions(
        engine=options.engine,
        partition=options.partition,
        account=options.account,
        hours=hours,
        workers=max(options.workers, 1),
        cpus=options.cpus,
        gpus=options.gpus,
        memory=options.memory,
        parallel=options.parallel,
        per_job=options.per_job or (_STACKED if options.stacked else 1),
        stacked=options.stacked,
    )
    try:
        submit(wanted, asked)
    except ModuleNotFoundError as error:
        if error.name != "submitit":
            raise
        raise Failed(
            "ENGINE needs the package submitit; make installs it, as does: pip install 'submitit>=1.5.4'"
        ) from None
    if options.watch == "yes":
        print("watching the store; Ctrl-C ends that, and the jobs stay in the queue")
        watch(wanted)
    return 0


def status(options: argparse.Namespace) -> int:
    """``status TABLE``: how far the trainings are, and what has failed."""
    from synthlib.study.status import status as status_of

    print(status_of(request(options)))
    return 0


def request(options: argparse.Namespace) -> "Request":
    """The trainings that the command line names."""
    from synthlib.study.cluster import Request

    if options.source != "own":
        raise ParameterError("the authors' runs are finished: leave SOURCE out")
    return Request(tuple(names(options)), options.preset, options.data, selection(options))


def _engine(text: str) -> str:
    if text not in ("", HERE, "slurm", "local"):
        raise argparse.ArgumentTypeError(f"{text!r} is unknown; known: {HERE}, slurm, local (tries it without a queue)")
    return text or HERE


def _count(text: str) -> int:
    if text and not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text or 0)


def _gigabytes(text: str) -> float:
    number = float(text or 0)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"must be gigabytes, not {text!r}")
    return number
