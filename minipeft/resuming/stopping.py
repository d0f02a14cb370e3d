"""SIGINT (Ctrl-C) and SIGTERM: what has begun is finished first, and the exit code says which it was."""

import os
import signal
import threading
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM. Whoever cleans up after Ctrl-C cleans up after this, too."""


RAISES = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}

ENDS_WITH_STDIN = "MINIPEFT_ENDS_WITH_STDIN"


def end_with_parent():
    """End this process as soon as standard input does, if ENDS_WITH_STDIN is in the environment.

    Standard input is a pipe then that the parent holds open and never writes to: the system closes it when
    the parent ends, by SIGKILL, too.
    """
    if not os.environ.pop(ENDS_WITH_STDIN, None):
        return

    def watch():
        while os.read(0, 1):
            pass
        os._exit(143)

    threading.Thread(target=watch, daemon=True).start()


class StopAsked:
    """What hears the signals in `stop_asked`.

    heard   the exception to raise, by the signal that this process heard; None: it heard none
    agreed  the same once all of several ranks know it, for they have to stop after the same step
    """

    def __init__(self, several):
        self.several, self.heard, self.agreed = several, None, None

    @property
    def asked(self):
        """The exception to raise when it suits; None: go on."""
        return self.agreed if self.several else self.heard

    def agree(self, count):
        """So many of several ranks have heard a signal: a step's sum says so to all of them."""
        self.agreed = (self.heard or Terminated) if count else None

    def __call__(self, number, frame):
        """A first signal is noted. A second one says that it cannot wait."""
        if self.heard:
            raise RAISES[number]
        self.heard = RAISES[number]


@contextmanager
def stop_asked(several=False):
    """`with stop_asked() as stop:` inside, a SIGINT or SIGTERM sets stop.asked, and nothing is broken off.

    several: of several ranks, stop.asked waits for `StopAsked.agree`.
    """
    stop = StopAsked(several)
    with heard_by(stop, *RAISES):
        yield stop


@contextmanager
def sigterm_raises():
    """Inside, SIGTERM raises `Terminated`, as SIGINT raises KeyboardInterrupt."""

    def handler(number, frame):
        raise Terminated

    with heard_by(handler, signal.SIGTERM):
        yield


@contextmanager
def heard_by(handler, *numbers):
    """The handler hears these signals, those that are ignored left out; in a thread Python hears none."""
    before = {}
    try:
        for number in numbers:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    except ValueError:
        pass  # not the main thread
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
