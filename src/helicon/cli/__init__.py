"""The command line: one file a verb; each parses, calls one function below, and prints."""

import os

# Threads that wait for one another sleep instead of spinning, which must be said before torch
# starts. On a machine that does something else besides, spinning made a training step up to ten
# times slower; on an idle one the two are equal within the noise.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from helicon.cli.application import main

__all__ = ["main"]
