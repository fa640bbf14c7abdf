"""What malloc keeps in the engine, seen from a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

from separation.engine.environment import engine_environment

MAPPED = """
import ctypes, sys
from separation.engine.environment import keep_less

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "free", "small", "mapped", "sizes", *"abcde")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
if sys.argv[1] == "less":
    assert keep_less()
before = libc.mallinfo2().mapped
libc.malloc(ctypes.c_size_t(int(sys.argv[2])))
print(libc.mallinfo2().mapped - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc's settings are glibc's")
@pytest.mark.parametrize(
    ("how", "size", "mapped"), [("all", 6e6, 0), ("less", 6e6, 1), ("less", 2e6, 0), ("all", 6e7, 1)]
)
def test_what_is_large_is_mapped_afresh_and_lanes_map_smaller_blocks(how, size, mapped):
    command = [sys.executable, "-c", MAPPED, how, str(int(size))]
    done = subprocess.run(
        command, env={**os.environ, **engine_environment()}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == mapped
