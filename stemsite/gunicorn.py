"""gunicorn's settings: threads, so that a slow upload holds a thread and not a process."""

from pathlib import Path
from typing import Any

from django.conf import settings

from stemsite.instance import in_address

bind = f"{in_address(settings.HOST)}:{settings.PORT}"
workers = settings.WEB_PROCESSES
threads = settings.WEB_THREADS
worker_class = "stemsite.worker.PatientWorker"
sendfile = False  # of static files: it waits without end for a client that takes nothing
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
timeout = 120
graceful_timeout = 8
keepalive = 5
loglevel = "warning"


def on_starting(_arbiter: object) -> None:
    """Called in the main process. The others end with it by themselves."""
    from separation.parents import end_with_manager

    end_with_manager()


def post_worker_init(_worker: object) -> None:
    """Each web process says that it is there, and how much memory it holds; and speaks in problem documents."""
    from memory.registration import keep_registered
    from stemsite.refusals import install

    install()
    keep_registered("web")


def post_request(_worker: object, request: Any, environ: dict[str, Any], _response: object) -> None:
    """Called when an answer has been sent."""
    from separation.uploads.direct import socket_source
    from stemsite.lingering import linger

    source, client = socket_source(request.body), environ.get("gunicorn.socket")
    if source is not None and client is not None:
        linger(request.body, source, client)
