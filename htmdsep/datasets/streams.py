"""The samples of a song's stems: a file's stream, or the sum of several."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest

import numpy as np

from htmdsep.audio.reader import AudioReader, open_audio
from htmdsep.datasets.folders import Stem, Term, check_lengths
from htmdsep.dsp.blocks import equal_blocks, resample_blocks
from htmdsep.errors import HtmdsepError, explained


@contextmanager
def stem_blocks(
    stem: Stem, sample_rate: int | None = None, *, channels: int | None = None
) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a stem's terms; yield the rate in Hz and (frames, channels) float32 blocks of their sum.

    They end with the shortest term, at `sample_rate` and in `channels` (None: their own); a file of
    another number counts as the mean of its own. What the reader notes goes to standard error.
    Raises HtmdsepError, with the file's name, where a term cannot be decoded, where terms differ in
    rate or channels, or in length by more than 0.1 s.
    """
    with ExitStack() as stack:
        readers = []
        for term in stem.terms:
            with explained(str(term.path), of=HtmdsepError):
                readers.append(stack.enter_context(open_audio(term.path, stream=term.stream)))
        headers = [reader.header for reader in readers]
        formats = [
            (sample_rate or header.sample_rate, channels or header.channels) for header in headers
        ]
        if len(set(formats)) > 1:
            told = " and ".join(f"{one} Hz, {other} channels" for one, other in formats)
            raise HtmdsepError(f"{stem.name}: its signals have {told}; convert them to the same")
        rate, width = formats[0]
        streams = [
            _term_blocks(term, reader, rate, width)
            for term, reader in zip(stem.terms, readers, strict=True)
        ]
        yield rate, _summed(stem, streams, rate, width)


def _term_blocks(term: Term, reader: AudioReader, rate: int, channels: int) -> Iterator[np.ndarray]:
    """Yield a term's blocks in equal lengths, converted and times its factor."""
    header, decoded = reader.header, reader.blocks()
    if channels != header.channels:
        means = (block.mean(axis=1, keepdims=True) for block in decoded)
        decoded = (block.repeat(channels, axis=1) for block in means)
    converted = resample_blocks(decoded, header.sample_rate, rate)
    with explained(str(term.path), of=HtmdsepError):
        for block in equal_blocks(converted):
            yield block if term.factor == 1 else np.float32(term.factor) * block
    for note in reader.notes:
        print(f"{term.path}: {note}", file=sys.stderr)


def _summed(
    stem: Stem, streams: Sequence[Iterator[np.ndarray]], rate: int, channels: int
) -> Iterator[np.ndarray]:
    lengths = [0] * len(streams)
    nothing = np.zeros((0, channels), np.float32)
    for blocks in zip_longest(*streams, fillvalue=nothing):
        lengths = [length + len(block) for length, block in zip(lengths, blocks, strict=True)]
        total = blocks[0]
        for block in blocks[1:]:
            frames = min(len(total), len(block))
            total = total[:frames] + block[:frames]
        yield total
    names = (term.path.name for term in stem.terms)
    check_lengths(stem.name, [(n, one / rate) for n, one in zip(names, lengths, strict=True)])
