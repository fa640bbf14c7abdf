"""`python -m stemsite.run`: prepares an instance and becomes its process manager.

Owns the order of a start: settings checked, DATA_DIR held, port free, database migrated, static files collected, then
supervisord, which starts web, worker and reaper, restarts what dies and stops all of it on Ctrl-C, or when nobody
takes its output any more.
"""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from memory.walls import step_down
from separation.parents import MANAGER
from stemsite.instance import hold

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stemsite.settings")
    os.chdir(ROOT)
    require_settings()
    require_free_port(settings.HOST, int(settings.PORT))
    prepare()
    step_down()
    have_output_carried()
    become_process_manager()


def require_settings() -> None:
    """Exit with what is wrong with a setting, or who else is using DATA_DIR, and no traceback."""
    try:
        django.setup()
        call_command("check", fail_level="ERROR")
        hold(settings.DATA_DIR)
    except (ImproperlyConfigured, CommandError) as error:
        sys.exit(str(error))


def prepare() -> None:
    """Bring database and static files up to date."""
    call_command("migrate", verbosity=0, interactive=False)
    call_command("collectstatic", verbosity=0, interactive=False)


def require_free_port(host: str, port: int) -> None:
    """Exit with one sentence when nothing can listen on `host:port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            why = "another program uses it" if taken else error.strerror
            sys.exit(f"Port {port} on {host} cannot be used: {why}. Choose another with PORT=….")


def have_output_carried() -> None:
    """From here on stdout is a pipe. Unlike a terminal it never fails whoever writes there; and unlike systemd's
    socket or the pipe of another user it can be opened anew, as supervisord opens /dev/fd/1 for each program."""
    command = [sys.executable, "-m", "stemsite.carrier", str(os.getpid())]
    carrier = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # it ends when all have
    assert carrier.stdin is not None
    os.dup2(carrier.stdin.fileno(), 1)
    carrier.stdin.close()


def become_process_manager() -> None:
    """Replace this process by supervisord, so that Ctrl-C and SIGTERM reach it and nothing stands between."""
    os.environ.update(
        DATA_DIR=str(settings.DATA_DIR),
        STEMSITE_PYTHON=sys.executable,
        STEMSITE_UID=str(os.getuid()),
        **{MANAGER: str(os.getpid())},
        PYTHONUNBUFFERED="1",
    )
    command = [sys.executable, "-m", "stemsite.manager", "-c", str(ROOT / "supervisord.conf")]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
