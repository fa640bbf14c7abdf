"""A stand-in for the engine that does what its input file says, one word a line; run as a program with a plan.

Words: `hog` fills memory until ended, `sleep` waits for ever, `pause N` for N seconds, `stubborn` ignores SIGTERM,
`spawn` starts a child that sleeps, `error CODE` ends as the engine does for a stated reason, `crash` dies of a
signal, `exit N`, `mute` ends well without a result, `short` reports more bytes than it wrote, `big N` writes N bytes
a stem.
Anything else: writes every stem and reports it.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path


def say(**event: object) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def hog(_: str) -> None:
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1024) * 1024 * 8))
        time.sleep(0.01)


def stems_of(plan: dict) -> list[str]:
    two = plan.get("two_stems")
    return [two, f"no_{two}"] if two else plan["stems"]


def write(plan: dict, stem: str, size: int) -> dict:
    path = Path(plan["output_dir"]) / f"{stem}.{plan['format']}"
    content = (stem.encode() * size)[:size]
    path.write_bytes(content)
    return {
        "stem": stem,
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "crc32": zlib.crc32(content),
        "samples": 441,
        "sample_rate": 44100,
        "channels": 2,
    }


def sleep(_: str) -> None:
    say(event="phase", phase="separating")
    for step in range(6000):
        say(event="progress", fraction=min(0.9, step / 100))
        time.sleep(0.1)


def pause(seconds: str) -> None:
    time.sleep(float(seconds))


def stubborn(_: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def spawn(_: str) -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def error(code: str) -> int:
    say(event="error", code=code, message=f"Told to end with {code}.")
    return 3


def fail(status: str) -> int:
    sys.stderr.write("some trace\n")
    return int(status)


WORDS = {
    "stubborn": stubborn,
    "spawn": spawn,
    "sleep": sleep,
    "pause": pause,
    "hog": hog,
    "crash": lambda _: os.kill(os.getpid(), signal.SIGSEGV),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "error": error,
    "exit": fail,
    "mute": lambda _: 0,
}


def obey(plan: dict) -> tuple[int | None, int, bool]:
    """Exit status (None: go on and write the stems), bytes a stem, and whether to lie about them."""
    size, short = 100, False
    for line in Path(plan["input"]).read_text().split("\n"):
        word, _, rest = line.partition(" ")
        if word == "lean" and plan["lean"] >= int(rest):
            break
        status = WORDS[word](rest) if word in WORDS else None
        if isinstance(status, int):
            return status, 0, False
        size, short = int(rest) if word == "big" else size, short or word == "short"
    return None, size, short


def main() -> int:
    plan = json.loads(Path(sys.argv[1]).read_text())
    say(event="phase", phase="loading")
    status, size, short = obey(plan)
    if status is not None:
        return status
    say(event="phase", phase="separating")
    say(event="progress", fraction=0.5)
    outputs = [write(plan, stem, size) for stem in stems_of(plan)]
    for output in outputs:
        output["bytes"] += short
    say(event="result", outputs=outputs, offsets=[0], effective={"threads": plan["threads"], "lean": plan["lean"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
