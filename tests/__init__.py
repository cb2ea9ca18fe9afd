"""The tests of htmdsep."""

import os

# Before torch is loaded, and for the processes that tests start: the networks here are so small
# that several threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
