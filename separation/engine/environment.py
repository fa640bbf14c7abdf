"""Settings that must be in the engine's environment before it starts. No torch.

glibc reads its tunables at exec, so whoever starts the engine passes these on.
"""

from __future__ import annotations

import platform


def engine_environment(threads: int = 2) -> dict[str, str]:
    """Variables to add to the engine's environment.

    Transparent huge pages for malloc make fresh activations of 33 to 66 MB cheap to touch; small thresholds give
    memory back between operations.
    """
    variables = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        variables |= {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    return variables
