"""A Ctrl-C while Python imports something: told once, and no lock of the import system is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import signal, sys, threading, time
from mmsc_cli.cli.interrupt import take_interrupts

take_interrupts()
place = sys.argv[1]


def trace(frame, event, argument):
    code = frame.f_code
    if event == "line" and code.co_name == place and frame.f_lineno > code.co_firstlineno + 1:
        sys.settrace(None)
        signal.getsignal(signal.SIGINT)(signal.SIGINT, frame)
    return trace


class Dying:
    def __del__(self):
        self.gone = True
        del self.gone


told = False
try:
    sys.settrace(trace)
    dying = Dying()
    del dying
    import colorsys
    sys.settrace(None)
    time.sleep(20)
except KeyboardInterrupt:
    told = True
other = threading.Thread(target=lambda: __import__("wave"), daemon=True)
other.start()
other.join(30)
print(told, other.is_alive())
"""


# Where the lock of all imports is taken, where a lock of one module goes, and where any exception is dropped.
@pytest.mark.parametrize("place", ["_get_module_lock", "cb", "__del__"])
def test_an_interrupt_is_told_and_leaves_imports_free(place: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, place],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.stdout == "True False\n", ran
