"""A stand-in for the engine that does what its input file says, one word a line; run as a program with a plan.

Words: `hog` fills memory until ended, `sleep` waits for ever, `stubborn` ignores SIGTERM, `spawn` starts a child
that sleeps, `error CODE` ends as the engine does for a stated reason, `crash` dies of a signal, `exit N`,
`mute` ends well without a result, `short` reports more bytes than it wrote, `big N` writes N bytes a stem.
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


def hog() -> None:
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


def main() -> int:
    plan = json.loads(Path(sys.argv[1]).read_text())
    size, short = 100, False
    say(event="phase", phase="loading")
    for line in Path(plan["input"]).read_text().split("\n"):
        word, _, rest = line.partition(" ")
        if word == "lean" and plan["lean"] >= int(rest):
            break
        if word == "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif word == "spawn":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        elif word == "sleep":
            say(event="phase", phase="separating")
            for step in range(6000):
                say(event="progress", fraction=min(0.9, step / 100))
                time.sleep(0.1)
        elif word == "hog":
            hog()
        elif word == "error":
            say(event="error", code=rest, message=f"Told to end with {rest}.")
            return 3
        elif word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif word == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif word == "exit":
            sys.stderr.write("some trace\n")
            return int(rest)
        elif word == "mute":
            return 0
        elif word == "short":
            short = True
        elif word == "big":
            size = int(rest)
    say(event="phase", phase="separating")
    say(event="progress", fraction=0.5)
    outputs = [write(plan, stem, size) for stem in stems_of(plan)]
    for output in outputs:
        output["bytes"] += short
    say(event="result", outputs=outputs, offsets=[0], effective={"threads": plan["threads"], "lean": plan["lean"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
