"""`python -m stemsite.carrier PID`: carries what the service writes, from a pipe, to where the start's output goes.

That may vanish, a terminal when its window is closed, a pipe when its reader ends, and whoever writes there fails: the
process manager would, and leave its programs behind. So it writes to the pipe, and when nobody takes the output any
more, PID, the process manager, is asked to end all of it in order. Imports little: it is there as long as the service.
"""

import os
import select
import signal
import sys
from contextlib import suppress

STDIN, STDOUT = 0, 1
PIECE = 64 * 1024
GONE = select.POLLHUP | select.POLLERR


def main(manager: int) -> None:
    if not carry(STDIN, STDOUT):
        if os.getppid() == manager:
            os.kill(manager, signal.SIGTERM)
        drain(STDIN)


def carry(source: int, target: int) -> bool:
    """Copies from one descriptor to the other until `source` ends; False if nobody takes `target` before that.

    What cannot be written for another reason, a full disk, is dropped.
    """
    watched = select.poll()
    watched.register(source, select.POLLIN)
    watched.register(target, 0)  # GONE is told unasked
    while True:
        events = dict(watched.poll())
        if events.get(target, 0) & GONE:
            return False
        if not (piece := os.read(source, PIECE)):
            return True
        with suppress(OSError):
            write(target, piece)


def write(target: int, piece: bytes) -> None:
    """All of it, also where another process has made `target` one that does not wait."""
    while piece:
        try:
            piece = piece[os.write(target, piece) :]
        except BlockingIOError:
            select.select([], [target], [])


def drain(source: int) -> None:
    """Nobody who writes there waits or fails."""
    while os.read(source, PIECE):
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
