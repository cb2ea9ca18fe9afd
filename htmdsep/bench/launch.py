"""Run a command and write what it took to a file: `launch.py RESULT COMMAND...`.

A process of its own and of the standard library alone, because Linux counts the memory of the
process that starts a command as the command's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def launch(result: Path, command: list[str]) -> None:
    """Write wall time, processor time (seconds) and largest memory (bytes) as JSON, and exit."""
    started = time.perf_counter()
    process = subprocess.Popen(command)
    # Asked to end, it ends the command and waits for it, so that nothing of it is left
    signal.signal(signal.SIGTERM, lambda *_: process.kill())
    found: dict[str, float | int | None] = {"cpu_seconds": None, "peak_bytes": None}
    if hasattr(os, "wait4"):  # not on Windows
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        found["cpu_seconds"] = usage.ru_utime + usage.ru_stime
        found["peak_bytes"] = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    else:
        process.wait()
    found["wall_seconds"] = time.perf_counter() - started
    result.write_text(json.dumps(found), encoding="utf-8")
    sys.exit(process.returncode if process.returncode >= 0 else 128 - process.returncode)


if __name__ == "__main__":
    launch(Path(sys.argv[1]), sys.argv[2:])
