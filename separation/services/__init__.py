"""What can be done with tracks and jobs: the one way in for API, pages, admin, commands and tasks.

Owns the public names of the job part; each module owns one of them. Everything refused raises `ServiceError`.
"""

from separation.services.archives import stems_archive
from separation.services.jobs import cancel, delete_job, retry
from separation.services.queue import Place, place_in_queue, waiting_reason, waiting_reasons
from separation.services.reaping import reap
from separation.services.running import run_ready_jobs
from separation.services.submission import JobEstimate, estimate, parse_options, submit
from separation.services.tracks import create_track, delete_track
from separation.services.watchdog import live_clusters

__all__ = [
    "JobEstimate",
    "Place",
    "cancel",
    "create_track",
    "delete_job",
    "delete_track",
    "estimate",
    "live_clusters",
    "parse_options",
    "place_in_queue",
    "reap",
    "retry",
    "run_ready_jobs",
    "stems_archive",
    "submit",
    "waiting_reason",
    "waiting_reasons",
]
