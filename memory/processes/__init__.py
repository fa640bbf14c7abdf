"""Supervised operations: run a program with limits, watch its whole tree, say how it ended.

`ProcessResourceManager.run` is the one entry. Knows nothing of music, jobs or the database.
"""

from memory.processes.contract import EndReason, OperationLimits, Outcome, TreeSample
from memory.processes.manager import ProcessResourceManager

__all__ = ["EndReason", "OperationLimits", "Outcome", "ProcessResourceManager", "TreeSample"]
