"""`python -m helicon`, for launchers that start modules (`torchrun -m helicon pretrain ...`)."""

import sys

from helicon.cli import main

if __name__ == "__main__":
    sys.exit(main())
