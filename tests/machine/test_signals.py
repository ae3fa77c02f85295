import os
import signal
import subprocess
import sys
import threading

import pytest

from synthlib.machine.beside import Helpers
from synthlib.machine.signals import TO_END, ToldToEnd

LISTENS = """
import os, signal, sys
from synthlib.machine.signals import ToldToEnd
told = ToldToEnd()
told.listen()
os.kill(os.getpid(), int(sys.argv[1]))
print("saving")
told.end()
print("never")
"""


@pytest.mark.parametrize("number", TO_END)
def test_a_process_that_is_told_to_end_goes_on_until_it_ends_by_that_signal(number):
    done = subprocess.run([sys.executable, "-c", LISTENS, str(int(number))], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-number, "saving\n")


def test_signals_that_somebody_else_handles_stay_theirs_and_ours_are_given_back():
    before = signal.signal(signal.SIGUSR2, theirs := lambda number, frame: None)
    try:
        told = ToldToEnd()
        told.listen()
        assert signal.getsignal(signal.SIGUSR2) is theirs
        os.kill(os.getpid(), signal.SIGTERM)
        assert told.number == signal.SIGTERM
        told.listen_no_more()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and signal.getsignal(signal.SIGUSR2) is theirs
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_a_thread_cannot_listen_and_who_was_told_nothing_goes_on():
    told = ToldToEnd()
    thread = threading.Thread(target=told.listen)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    told.end()


def signalled(number):
    os.kill(os.getpid(), number)
    return "here"


@pytest.mark.slow
def test_who_evaluates_beside_a_worker_leaves_the_signal_to_the_worker():
    helpers = Helpers()
    try:
        assert [helpers.call(signalled, number).result() for number in TO_END] == ["here", "here"]
    finally:
        helpers.close()
