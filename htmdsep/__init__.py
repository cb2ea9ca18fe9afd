"""Singing-voice separation: any length, flat memory, stems that add up.

    import htmdsep
    htmdsep.separate_file("song.mp3")  # separated/song/vocals.wav, accompaniment.wav
    vocals, accompaniment = htmdsep.separate(mixture, sample_rate)

`Separator` keeps the network loaded for many arrays, streams of blocks, or files; `run_batch`
works through folders and lists of songs as the command does:

    for outcome in htmdsep.run_batch(htmdsep.BatchOptions(inputs=("music",), existing="resume")):
        print(outcome.source.label, outcome.status, outcome.error or "")

The rooms, each of which imports only what stands below it (tests/test_arrows.py):

    cli, training, evaluation, bench, onnx    the programs
    batch        many songs: find, plan, resume, run, record
    separation   one song: blocks or a file in, stems out
    engines      run a network, and choose how
    datasets     folders of songs with stems, and their samples
    weights      weights files and their graphs: find, read, write, import
    audio        audio files in and out
    metrics      ratios, silence, bounds
    networks     configs and PyTorch definitions
    dsp          streams of blocks: cut, join, resample, transform, quantise, meter
    console      what the programs share: their process, help, flags made of fields
    options, files, errors    every option, files that appear whole, what a user is told
"""

from __future__ import annotations

__version__ = "0.1.0"

# Of the module typing, which is not imported here: an interrupt meanwhile would not be ours to tell
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from htmdsep.batch.run import run_batch
    from htmdsep.errors import HtmdsepError
    from htmdsep.options import BatchOptions, ClusterOptions, RunOptions
    from htmdsep.separation.arrays import Stems
    from htmdsep.separation.separator import Separator, separate, separate_file
    from htmdsep.separation.stems import FileReport

__all__ = [
    "BatchOptions",
    "ClusterOptions",
    "FileReport",
    "HtmdsepError",
    "RunOptions",
    "Separator",
    "Stems",
    "__version__",
    "run_batch",
    "separate",
    "separate_file",
]

_LATE = {
    "BatchOptions": "htmdsep.options",
    "ClusterOptions": "htmdsep.options",
    "FileReport": "htmdsep.separation.stems",
    "HtmdsepError": "htmdsep.errors",
    "RunOptions": "htmdsep.options",
    "Separator": "htmdsep.separation.separator",
    "Stems": "htmdsep.separation.arrays",
    "run_batch": "htmdsep.batch.run",
    "separate": "htmdsep.separation.separator",
    "separate_file": "htmdsep.separation.separator",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is: the command starts quickly, and may be interrupted."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
