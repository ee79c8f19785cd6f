"""Ctrl-C and child processes."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def children_ignore_ctrl_c() -> Iterator[None]:
    """A process started within ignores Ctrl-C, from its first instruction on; its parent handles it.

    On any other thread than the main thread nothing is changed, since no other thread may set a signal handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
