"""Programs that misbehave on purpose. Each is run with `python -c` under supervision."""

FILLS_FAST = """
held = []
while True:
    held.append(b"x" * (8 << 20))
"""

LEAKS_SLOWLY = """
import time
held = []
while True:
    held.append(b"x" * (4 << 20))
    time.sleep(0.01)
"""

HOLD = """
import os, time
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")
def hold(target):
    held = []
    while rss() < target:
        held.append(b"x" * (1 << 20))
    return held
"""

IGNORES_SIGTERM = (
    HOLD
    + """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
held = hold(int(150 * 1.025) << 20)
time.sleep(60)
"""
)

FORKS_FIFTY = """
import os, time
for _ in range(50):
    if os.fork() == 0:
        held = b"x" * ({each} << 20)
        time.sleep({seconds})
        os._exit(0)
for _ in range(50):
    os.wait()
"""

DAEMON = """
import os, time
def daemon(work):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)
    os.wait()
"""

DAEMON_LEAKS = (
    DAEMON
    + """
def leak():
    held = []
    while True:
        held.append(b"x" * (4 << 20))
        time.sleep(0.005)
daemon(leak)
time.sleep(60)
"""
)

LEAVES_A_DAEMON = (
    DAEMON
    + """
daemon(lambda: time.sleep(60))
print("left")
"""
)

SHARES_WITH_FORKS = """
import os, time
held = b"x" * (300 << 20)
for _ in range(4):
    if os.fork() == 0:
        time.sleep(0.7)
        os._exit(0)
for _ in range(4):
    os.wait()
"""

UNSHARES_IN_FORKS = """
import os, time
held = bytearray(80 << 20)
for at in range(0, len(held), 4096):
    held[at] = 1
for _ in range(4):
    if os.fork() == 0:
        for at in range(0, len(held), 4096):
            held[at] = 2
        time.sleep(20)
        os._exit(0)
for _ in range(4):
    os.wait()
"""

SLEEPS = "import time; time.sleep(60)"

STARTS_PROGRAMS = """
import subprocess
held = b"x" * (150 << 20)
for _ in range(200):
    subprocess.run(["true"], check=True)
"""
