"""``python -m proxymask`` (and ``torchrun -m proxymask``): the command."""

import os
import sys

from .cli import main

code = main()
if int(os.environ.get("WORLD_SIZE", "1")) > 1:
    from .training.distributed import leave

    leave(code)
sys.exit(code)
