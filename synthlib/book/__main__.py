"""``make book``: execute the pages and write the source of the site. Trains nothing."""

import os
import sys

from synthlib.book.contents import parts
from synthlib.book.pages import execute
from synthlib.book.site import write_source
from synthlib.errors import Failed
from synthlib.machine.processors import usable_processors
from synthlib.machine.switches import TRAIN
from synthlib.paths import ROOT

FOLDER = ROOT / "build" / "book"


def main() -> int:
    """Returns the exit status: 1 after an error that is told in words."""
    os.environ[TRAIN] = "no"
    os.environ["SYNTHLIB_OUTPUTS"] = str(FOLDER / "outputs")
    book = parts()
    try:
        for line in execute([page for part in book for page in part.pages], FOLDER, usable_processors()):
            print(line, flush=True)
        write_source(book, FOLDER)
    except (ValueError, OSError, Failed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the pages that are executed are kept, the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
