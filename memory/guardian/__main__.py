"""Entry of the guardian: `python -I -S __main__.py CONFIG_JSON PROGRAM [ARGUMENT...]`. See the package."""

# pathlib would double the guardian's start-up time
# ruff: noqa: PTH100, PTH120

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from memory.guardian.watch import main

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
