"""One short song does without PyTorch: its import would take longer than the song."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from htmdsep.batch import Plan
from htmdsep.catalogue import locate
from htmdsep.devices import pick_device
from htmdsep.fleet.outcome import FAILURES
from htmdsep.fleet.places import is_url
from htmdsep.precision import pick_precision
from htmdsep.processor import starts_at_once
from htmdsep.reader import open_audio
from htmdsep.weightsfile import read_info

if TYPE_CHECKING:
    from htmdsep.settings import Settings

# Up to here fp32 in NumPy was done before bf16 in PyTorch (whole command, stereo MP3, two cores
# with AMX, medians of 3: 1 s 0.6 against 2.3, 30 s 1.3 against 2.1, 60 s 2.2 against 2.9).
BRIEF_SECONDS = 60.0


def settle_brief(settings: Settings, plan: Plan) -> Settings:
    """Ask for fp32 where precision and engine are left open and all there is is one short song.

    Raises HtmdsepError for unusable weights and devices; what is wrong with the song is for those
    to tell who separate it.
    """
    is_open = settings.precision == settings.engine == "auto" and settings.run_on == "local"
    if not is_open or len(plan) != 1 or pick_device(settings.device) != "cpu":
        return settings
    if pick_precision("auto", "cpu") == "fp32":
        return settings
    config = read_info(locate(settings.weights or settings.name).path).config
    seconds = _seconds(plan.sources[0].name, settings)
    if seconds is None or seconds > BRIEF_SECONDS or not starts_at_once(config):
        return settings
    return replace(settings, precision="fp32")


def _seconds(name: str, settings: Settings) -> float | None:
    """Return how long the part of a file that is wanted is, None where that is not known."""
    if is_url(name) or not Path(name).is_file():  # a pipe can be read once only
        return None
    start, duration = settings.start_seconds, settings.duration_seconds
    try:
        with open_audio(Path(name), start_seconds=start, duration_seconds=duration) as reader:
            return None if reader.frames is None else reader.frames / reader.header.sample_rate
    except FAILURES:  # which are told with the song
        return None
