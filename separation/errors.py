"""Why something was refused or ended: the stable codes, and the sentence a person reads for each.

Owns the vocabulary shared by models, services, engine, API and pages. Owns no handling.
"""
# ruff: noqa: E501

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """Stable codes; the API's problem `code`, a job's `reason`, an engine error event's `code`."""

    # the file
    EMPTY_FILE = "empty_file"
    UNREADABLE_AUDIO = "unreadable_audio"
    NO_AUDIO_STREAM = "no_audio_stream"
    UNSUPPORTED_AUDIO = "unsupported_audio"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    FILE_MISSING = "file_missing"
    # the request
    INVALID_OPTION = "invalid_option"
    UNKNOWN_MODEL = "unknown_model"
    UNKNOWN_STEM = "unknown_stem"
    MODEL_UNAVAILABLE = "model_unavailable"
    QUOTA_EXCEEDED = "quota_exceeded"
    NOT_ALLOWED_NOW = "not_allowed_now"
    BUSY = "busy"
    # the run
    MEMORY_LIMIT = "memory_limit"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    CANNOT_FIT = "cannot_fit"
    TIMED_OUT = "timed_out"
    STALLED = "stalled"
    DISK_FULL = "disk_full"
    LOST_WORKER = "lost_worker"
    WORKER_STOPPED = "worker_stopped"
    ENGINE_CRASHED = "engine_crashed"
    ENGINE_KILLED = "engine_killed"
    DECODER_FAILED = "decoder_failed"
    ENCODER_FAILED = "encoder_failed"
    FFMPEG_MISSING = "ffmpeg_missing"
    STORAGE_FAILED = "storage_failed"
    DEVICE_UNAVAILABLE = "device_unavailable"
    CANCELLED = "cancelled"


SENTENCES: dict[str, str] = {
    ReasonCode.EMPTY_FILE: "The file is empty. Upload it again.",
    ReasonCode.UNREADABLE_AUDIO: "No audio could be read from this file. Check that it plays, or convert it to WAV or FLAC first.",
    ReasonCode.NO_AUDIO_STREAM: "This file has no sound in it.",
    ReasonCode.UNSUPPORTED_AUDIO: "This audio has a sample rate or channel count that cannot be processed. Convert it to 44.1 kHz stereo first.",
    ReasonCode.TOO_LONG: "The music is longer than this server accepts.",
    ReasonCode.TOO_LARGE: "The file is larger than this server accepts.",
    ReasonCode.FILE_MISSING: "The original file is no longer stored. Upload it again.",
    ReasonCode.INVALID_OPTION: "One of the options has a value that is not allowed.",
    ReasonCode.UNKNOWN_MODEL: "There is no model of this name here.",
    ReasonCode.UNKNOWN_STEM: "The chosen model does not produce this stem.",
    ReasonCode.MODEL_UNAVAILABLE: "The model's weights are not on this server. An administrator can fetch them with `manage.py fetch_model`.",
    ReasonCode.QUOTA_EXCEEDED: "This would exceed your quota.",
    "webhook_target": "Webhook addresses must be http or https addresses on the public internet.",
    ReasonCode.NOT_ALLOWED_NOW: "This is not possible in the job's present state.",
    ReasonCode.BUSY: "The server has too little free memory for this right now. Try again shortly.",
    ReasonCode.MEMORY_LIMIT: "The job needed more memory than one operation may hold. Try the fast preset or fewer shifts.",
    ReasonCode.HOST_OUT_OF_MEMORY: "The server ran out of memory while the job ran. It can be tried again.",
    ReasonCode.CANNOT_FIT: "The job needs more memory than this server can ever give one operation.",
    ReasonCode.TIMED_OUT: "The job took longer than this server allows.",
    ReasonCode.STALLED: "The job stopped making progress and was ended. It can be tried again.",
    ReasonCode.DISK_FULL: "The server's disk is full. An administrator has to make room; then try again.",
    ReasonCode.LOST_WORKER: "The worker running this job disappeared more often than is allowed. It can be tried again.",
    ReasonCode.WORKER_STOPPED: "The worker was stopped while the job ran; the job waits to run again.",
    ReasonCode.ENGINE_CRASHED: "The separation engine ended unexpectedly. The details are in the job's history.",
    ReasonCode.ENGINE_KILLED: "The separation engine was ended from outside. It can be tried again.",
    ReasonCode.DECODER_FAILED: "Decoding the file failed part-way. Check that it plays to its end.",
    ReasonCode.ENCODER_FAILED: "Writing the stems failed. Try another output format.",
    ReasonCode.FFMPEG_MISSING: "ffmpeg was not found on the server. An administrator has to install it.",
    ReasonCode.STORAGE_FAILED: "The result could not be stored. It can be tried again.",
    ReasonCode.DEVICE_UNAVAILABLE: "The processor chosen for separation is not available on this server.",
    ReasonCode.CANCELLED: "The job was cancelled.",
}  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """A limit by its name in `/api/v1/limits/`, its value, and what is in use or was asked for, in its own unit."""

    name: str
    value: float
    used: float


class ServiceError(Exception):
    """A refusal that a person can act on. `code` is stable; `message` is a sentence; `field` names the input.

    `http_status` from 500 on says that the server is at fault and the same may succeed later; `retry_after` is in
    seconds, 0 where nothing can be said. `limit` is the one that was in the way, if one was.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        http_status: int = 422,
        field: str | None = None,
        retry_after: int = 0,
        limit: Limit | None = None,
    ) -> None:
        self.code = str(code)
        self.message = message or SENTENCES.get(self.code, "The request could not be carried out.")
        self.http_status = http_status
        self.field = field
        self.retry_after = retry_after
        self.limit = limit
        super().__init__(self.message)
