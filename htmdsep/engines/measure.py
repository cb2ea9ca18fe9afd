"""Which engine and precision compute a network fastest on this machine, measured once and cached.

What is compared is processor time on one thread, which other programs on the machine hardly change:
under a load of seven on two cores it varied by a few per cent, where the wall time doubled.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple

from htmdsep.engines.choice import processor_facts, thread_count
from htmdsep.errors import HtmdsepError
from htmdsep.files import write_text
from htmdsep.networks.config import NetworkConfig, config_to_dict
from htmdsep.options import RunOptions
from htmdsep.weights.catalogue import WeightsFile, cache_folder

CACHE = "engines"  # the part of the cache in which choices are kept
FORM = 1  # of the cached files, and of what they follow from
REFERENCE_SECONDS = 3_600.0  # of stereo; of less the start would decide, of more only the speed
CLEARLY_FASTER = 0.95  # times as long; by less, a choice does not displace the one before it
RUNTIMES = ("onnxruntime", "openvino")
# What tells one model of processor from another, on x86 and on ARM
FACTS = (
    "vendor_id", "cpu family", "model", "model name", "stepping", "flags",
    "CPU implementer", "CPU part", "Features",
)  # fmt: skip
# The process that times has this one's modules, and none of the folder it is started in.
PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from htmdsep.engines.timing import main; main()"
)


class MeasuredSeconds(NamedTuple):
    """What a choice took on one thread: until its first result, and for a segment from then on."""

    start: float
    segment: float


Timed = dict[str, MeasuredSeconds]  # by the names of choices


def fastest(
    choices: Sequence[RunOptions],
    config: NetworkConfig,
    measure: Callable[[Sequence[RunOptions]], Timed],
) -> RunOptions:
    """Return the choice that separates an hour of stereo first, start included.

    `measure` times them; it is not called where there is nothing to choose, or where the answer is
    in the user's cache, which is left alone where it cannot be written.
    """
    if len(choices) == 1:
        return choices[0]
    facts = _facts(choices, config)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode("ascii")).hexdigest()
    file_name = f"{digest[:32]}.json"
    known = _read_choice(file_name)
    for choice in choices:
        if _name(choice) == known:
            return choice
    timed = measure(choices)
    chosen = choices[0]
    for choice in choices[1:]:
        limit = CLEARLY_FASTER * _reference_seconds(chosen, config, timed)
        if _reference_seconds(choice, config, timed) < limit:
            chosen = choice
    if timed:
        found = {"choice": _name(chosen), "seconds_of_start_and_segment": timed}
        with suppress(OSError, HtmdsepError):
            write_text(cache_folder(CACHE) / file_name, json.dumps({**found, **facts}, indent=1))
    return chosen


def time_choices(located: WeightsFile, choices: Sequence[RunOptions]) -> Timed:
    """Time choices for weights on one thread, in a process of its own; without those that fail."""
    if getattr(sys, "frozen", False) or not sys.executable:
        return {}  # no Python that could be started
    ways = {_name(one): {"engine": one.engine, "precision": one.precision} for one in choices}
    path = str(located.path.absolute())
    asked = {"name": located.name, "path": path, "sha256": located.sha256, "choices": ways}
    command = [sys.executable, "-c", PROGRAM, json.dumps(sys.path)]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked).encode(), capture_output=True, check=True
        )
        return {name: MeasuredSeconds(*found) for name, found in json.loads(done.stdout).items()}
    except (OSError, subprocess.CalledProcessError, ValueError):
        return {}


def _reference_seconds(choice: RunOptions, config: NetworkConfig, timed: Timed) -> float:
    """Return how long a choice takes for the reference, by all its threads; inf: it failed."""
    if _name(choice) not in timed:
        return inf
    seconds, threads = timed[_name(choice)], choice.threads or thread_count()
    segments = REFERENCE_SECONDS * config.sample_rate / config.segment_length
    segments *= 2 / config.input_channels
    # OpenVINO's requests, one a thread, run for the first time in turn
    in_turn = threads if choice.engine == "openvino" else 0
    return seconds.start + seconds.segment * (in_turn + segments / threads)


def _name(choice: RunOptions) -> str:
    return f"{choice.engine} {choice.precision}"


def _facts(choices: Sequence[RunOptions], config: NetworkConfig) -> dict[str, Any]:
    """Return all that a choice follows from."""
    facts = {name: fact for name, fact in processor_facts().items() if name in FACTS}
    return {
        "form": FORM,
        "processor": facts or platform.processor(),
        "runtimes": [_version(name) for name in RUNTIMES],
        "network": config_to_dict(config),
        "threads": choices[0].threads or thread_count(),
        "choices": [_name(choice) for choice in choices],
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # 16 ms, only where one chooses

    with suppress(PackageNotFoundError):  # another distribution may bring the module
        return version(package)
    return ""


def _read_choice(file_name: str) -> str | None:
    """Return the name of the choice in a file of the cache; None where it holds none."""
    try:
        found = json.loads((cache_folder(CACHE) / file_name).read_text(encoding="utf-8"))
    except (OSError, HtmdsepError, ValueError, RecursionError):
        return None
    return found.get("choice") if isinstance(found, dict) else None
