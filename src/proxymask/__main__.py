"""``python -m proxymask`` (and ``torchrun -m proxymask``): the command."""

import sys

from .cli import main

sys.exit(main())
