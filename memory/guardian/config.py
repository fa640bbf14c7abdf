"""What the supervisor tells the guardian, as one JSON argument. Owns the wording only."""

import json
from typing import NamedTuple


class Config(NamedTuple):
    """Sizes in bytes, times in seconds. `supervisor` is a pid; `lifeline` and `status` are inherited descriptors.

    `wall` and `cgroup` name the kernel's wall and the folder to join, if there is one; `reader` is "proc" or "psutil".
    """

    memory_bytes: int
    warn_fraction: float
    kill_fraction: float
    poll_seconds: float
    grace_seconds: float
    oom_score_adj: int
    reader: str
    wall_seconds: float | None = None
    data_bytes: int | None = None
    wall: str | None = None
    cgroup: str | None = None
    supervisor: int = 0
    lifeline: int = -1
    status: int = -1

    def to_json(self) -> str:
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> "Config":
        return cls(**json.loads(text))
