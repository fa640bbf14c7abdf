"""`python -m stemsite.manager -c FILE`: supervisord, to which a hangup is an end and no restart.

The terminal of the start was closed, or the login that it belongs to is over: nobody is left to press Ctrl-C. Under
nohup all of it goes on.
"""

import signal

from supervisor.options import ServerOptions
from supervisor.supervisord import go


class Options(ServerOptions):
    def setsignals(self) -> None:
        before = signal.getsignal(signal.SIGHUP)
        super().setsignals()
        signal.signal(signal.SIGHUP, before if before == signal.SIG_IGN else self._end)

    def _end(self, *_: object) -> None:
        self.signal_receiver.receive(signal.SIGTERM, None)


def main() -> None:
    options = Options()
    options.realize()
    options.first, options.test = True, False
    go(options)


if __name__ == "__main__":
    main()
