"""The commands behind the Makefile: ``synthlib COMMAND``, or ``python -m synthlib COMMAND``."""

import sys
from collections.abc import Sequence

from synthlib.commands import cluster, hub, pages, store, tables
from synthlib.commands.parser import OF_A_TABLE, parser
from synthlib.errors import Failed

_COMMANDS = {
    "plan": tables.plan,
    "run": tables.run,
    "status": cluster.status,
    "reproduce": tables.reproduce,
    "show": tables.show,
    "watch": tables.watch,
    "publish": store.publish,
    "export-runs": store.export_runs,
    "import-runs": store.import_runs,
    "export": store.export,
    "push": hub.push,
    "push-data": hub.push_data,
    "pull": hub.pull,
    "notebook": pages.notebook,
    "scoreboard": pages.scoreboard,
    "check-authors": store.check_authors,
    "doctor": store.doctor,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 after an error that is told in words, 130 after Ctrl-C."""
    try:
        options = parser().parse_args(arguments)
        command = _COMMANDS[options.command]
        if options.command in OF_A_TABLE:
            return tables.for_each_part(command, options)
        return command(options)
    except (ValueError, OSError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("synthlib"):
            raise
        # Without a name it is an error of our own, which says what to do.
        words = f"the package {error.name} is not installed; run: make install" if error.name else error
        print(f"error: {words}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nstopped; every training keeps its last checkpoint, the same command goes on from there", file=sys.stderr
        )
        return 130


if __name__ == "__main__":
    sys.exit(main())
