"""A one-time cache of decoded stems: one rate, memory-mapped 16-bit integers; where silence is."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from htmdsep.datasets.folders import Song, Stem
from htmdsep.datasets.streams import stem_blocks
from htmdsep.dsp.levels import EMPTY_DBFS, power_of
from htmdsep.errors import HtmdsepError, explained
from htmdsep.files import atomic_path, make_folder, remove_abandoned

VERSION = 2  # of the cached form; raise it when decoding changes
FULL_SCALE = 2.0  # the value of integer 32 768: float files may exceed 1 by 6 dB
UNIT = FULL_SCALE / 32_768  # the value of integer 1
SAMPLED_BYTES = 1 << 16  # read at each of the places a file's key is taken from


@dataclass(frozen=True)
class CachedStem:
    """A decoded stem: `name` as in its folder, `samples` int16, (frames, channels)."""

    name: str
    samples: np.ndarray

    def __reduce__(self) -> tuple[Any, ...]:
        """Let other processes map the file, too, instead of sending them all that is in it."""
        if isinstance(self.samples, np.memmap):
            return map_stem, (self.name, self.samples.filename, self.samples.shape[1])
        return CachedStem, (self.name, self.samples)

    def read(self, start: int, length: int) -> np.ndarray:
        """Return float32 (channels, length) from `start`, zeros past either end."""
        return np.asarray(self.read_integers(start, length) * np.float32(UNIT))

    def read_integers(self, start: int, length: int) -> np.ndarray:
        """Return the same as int16, in UNIT."""
        first, last = max(start, 0), min(start + length, len(self.samples))
        excerpt = np.zeros((self.samples.shape[1], length), np.int16)
        if last > first:
            excerpt[:, first - start : last - start] = self.samples[first:last].T
        return excerpt


StemPair = tuple[CachedStem, CachedStem]  # vocals and accompaniment, aligned
Cached = Mapping[str, CachedStem]  # stems by name, without those that are silent


def map_stem(name: str, path: Path, channels: int) -> CachedStem:
    """Return a stem whose samples lie in a file of the cache, channels interleaved."""
    return CachedStem(name, np.memmap(path, np.int16, mode="r").reshape(-1, channels))


def known_stems(stems: Iterable[Stem], cached: Cached) -> list[CachedStem]:
    """Return what is cached of stems, of which some may be silent."""
    return [cached[stem.name] for stem in stems if stem.name in cached]


def known_pairs(songs: Iterable[Song], cached: Cached) -> list[StemPair]:
    """Return what is cached of songs, without labels of which a stem is silent."""
    pairs = (known_stems([song.vocals, song.accompaniment], cached) for song in songs)
    return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]


def cache_stems(
    stems: Iterable[Stem],
    folder: Path,
    sample_rate: int,
    channels: int,
    *,
    progress: bool = True,
) -> dict[str, CachedStem]:
    """Decode every stem that is not in the cache folder yet, and map all with sound by name.

    Loose stems that are silent are left out, with a line on standard error. Raises HtmdsepError
    for stems that cannot be decoded, are not finite, exceed full scale by 6 dB, are silent and not
    loose, or whose terms differ in length; what was decoded until then stays.
    """
    wanted = list(stems)
    make_folder(folder)
    remove_abandoned(folder)
    cached = {}
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        paths = pool.map(lambda stem: _entry(stem, folder, sample_rate, channels), wanted)
        hidden = None if progress else True  # None: on a terminal
        bar = tqdm(paths, desc="cache", unit="stem", total=len(wanted), disable=hidden)
        for stem, path in zip(wanted, bar, strict=True):
            if path.stat().st_size:
                cached[stem.name] = map_stem(stem.name, path, channels)
            else:
                tqdm.write(f"{stem.name} is silent and left out", file=sys.stderr)
    finally:
        pool.shutdown(cancel_futures=True)
    return cached


def _entry(stem: Stem, folder: Path, sample_rate: int, channels: int) -> Path:
    """Return a stem's file in the cache, decoded now if need be; where silent it is empty."""
    path = folder / f"{_key(stem, sample_rate, channels)}.i16"
    if not path.exists():
        with atomic_path(path) as temporary:
            _decode(stem, sample_rate, channels, temporary)
    if not stem.loose and not path.stat().st_size:
        raise HtmdsepError(f"{stem.paths} is silent; remove it, or the song it belongs to")
    return path


def _key(stem: Stem, sample_rate: int, channels: int) -> str:
    settings = [VERSION, sample_rate, channels, FULL_SCALE]
    terms = [[_fingerprint(term.path), term.stream, term.factor] for term in stem.terms]
    return hashlib.sha256(json.dumps([settings, terms]).encode()).hexdigest()[:32]


def _fingerprint(path: Path) -> str:
    """Hash a file's size and 64 KiB at eight places, so that terabytes need no full reading."""
    digest = hashlib.sha256()
    with explained(f"cannot read {path}"), path.open("rb") as file:
        size = path.stat().st_size
        for place in range(8):
            file.seek(max(0, size - SAMPLED_BYTES) * place // 7)
            digest.update(file.read(SAMPLED_BYTES))
    return f"{size}-{digest.hexdigest()}"


def _decode(stem: Stem, sample_rate: int, channels: int, path: Path) -> None:
    """Write a stem's samples to a file, which stays empty where they are silent."""
    energy, length = 0.0, 0
    opened = stem_blocks(stem, sample_rate, channels=channels)
    with path.open("wb") as file, opened as (_, blocks):
        for block in blocks:
            if len(block) and (peak := float(np.abs(block).max())) >= FULL_SCALE:
                raise HtmdsepError(f"{stem.paths} peaks at {peak:.1f}; keep it below {FULL_SCALE}")
            energy += float(np.sum(block.astype(np.float64) ** 2))
            length += block.size
            file.write(np.round(block * (32_767 / FULL_SCALE)).astype(np.int16).tobytes())
        if length == 0 or energy / length < power_of(EMPTY_DBFS):
            file.truncate(0)
