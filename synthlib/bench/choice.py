"""Which lines ``make bench`` measures on the chosen device."""

from synthlib.bench import columns
from synthlib.bench.lines import Line, all_lines
from synthlib.machine.devices import CPU, chosen


def lines() -> list[Line]:
    """The lines for the chosen device: all lines on a processor, the lines that use networks on a GPU."""
    of_all = [*all_lines(), *columns.lines()]
    return [line for line in of_all if (not line.only_gpu if chosen() == CPU else line.on_gpu)]
