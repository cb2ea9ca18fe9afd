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
    page         a page to listen on, written beside stems
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

    from htmdsep.batch.run import run_batch as run_batch
    from htmdsep.errors import HtmdsepError as HtmdsepError
    from htmdsep.options import BatchOptions as BatchOptions
    from htmdsep.options import ClusterOptions as ClusterOptions
    from htmdsep.options import RunOptions as RunOptions
    from htmdsep.separation.arrays import Stems as Stems
    from htmdsep.separation.report import FileReport as FileReport
    from htmdsep.separation.separator import Separator as Separator
    from htmdsep.separation.separator import separate as separate
    from htmdsep.separation.separator import separate_file as separate_file

_LATE = {
    "BatchOptions": "options",
    "ClusterOptions": "options",
    "FileReport": "separation.report",
    "HtmdsepError": "errors",
    "RunOptions": "options",
    "Separator": "separation.separator",
    "Stems": "separation.arrays",
    "run_batch": "batch.run",
    "separate": "separation.separator",
    "separate_file": "separation.separator",
}
__all__ = ["__version__", *_LATE]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is: the command starts quickly, and may be interrupted."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"htmdsep.{_LATE[name]}"), name)
