"""A one-time cache of decoded stems: mono, one rate, memory-mapped 16-bit integers."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from htmdsep.atomic import atomic_path
from htmdsep.errors import HtmdsepError
from htmdsep.training.decoding import mono_blocks
from htmdsep.training.layouts import Stem, Term

VERSION = 1  # of the cached form; raise it when decoding changes
FULL_SCALE = 2.0  # the value of integer 32 768: float files may exceed 1 by 6 dB
LENGTH_TOLERANCE_SECONDS = 0.1  # of terms that are summed; encoders pad by less
SILENCE_RMS = 1e-4  # -80 dBFS
EMPTY_BYTES = 128  # of an array file without samples, which cannot be mapped
SAMPLED_BYTES = 1 << 16  # read at each of the places a file's key is taken from


@dataclass(frozen=True)
class CachedStem:
    """A decoded stem: `name` as in its folder, `samples` memory-mapped int16."""

    name: str
    samples: NDArray[np.int16]

    def read(self, start: int, length: int) -> NDArray[np.float32]:
        """Return `length` samples from `start`, zeros past either end."""
        first, last = max(start, 0), min(start + length, len(self.samples))
        excerpt = np.zeros(length, np.float32)
        if last > first:
            excerpt[first - start : last - start] = self.samples[first:last]
        excerpt *= FULL_SCALE / 32_768
        return excerpt


def cache_stems(
    stems: Iterable[Stem], folder: Path, sample_rate: int, *, progress: bool = True
) -> dict[str, CachedStem]:
    """Decode every stem that is not in the cache folder yet, and map them all by name.

    Raises HtmdsepError for stems that cannot be decoded, are silent but not loose, hold values that are not
    finite, exceed full scale by 6 dB, or whose terms differ in length.
    """
    cached = {}
    for stem in tqdm(list(stems), desc="cache", unit="stem", disable=not progress):
        path = folder / f"{_key(stem, sample_rate)}.npy"
        if not path.exists():
            samples = _decode(stem, sample_rate)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, samples)
        samples = np.load(path, mmap_mode="r" if path.stat().st_size > EMPTY_BYTES else None)
        if len(samples):
            cached[stem.name] = CachedStem(stem.name, samples)
        else:
            tqdm.write(f"{stem.name} is silent and left out", file=sys.stderr)
    return cached


def _key(stem: Stem, sample_rate: int) -> str:
    settings = [VERSION, sample_rate, FULL_SCALE]
    terms = [[_fingerprint(term.path), term.stream, term.factor] for term in stem.terms]
    return hashlib.sha256(json.dumps([settings, terms]).encode()).hexdigest()[:32]


def _fingerprint(path: Path) -> str:
    """Hash a file's size and 64 KiB at eight places, so that terabytes need no full reading."""
    digest = hashlib.sha256()
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            for place in range(8):
                file.seek(max(0, size - SAMPLED_BYTES) * place // 7)
                digest.update(file.read(SAMPLED_BYTES))
    except OSError as error:
        raise HtmdsepError(f"cannot read {path}: {error.strerror}") from error
    return f"{size}-{digest.hexdigest()}"


def _decode(stem: Stem, sample_rate: int) -> NDArray[np.int16]:
    signals = [_decode_term(term, sample_rate) for term in stem.terms]
    lengths = [len(signal) for signal in signals]
    if max(lengths) - min(lengths) > LENGTH_TOLERANCE_SECONDS * sample_rate:
        listed = ", ".join(
            f"{term.path.name} {length / sample_rate:.2f} s"
            for term, length in zip(stem.terms, lengths, strict=True)
        )
        raise HtmdsepError(f"{stem.name}: stems of different length ({listed}); align them")
    total = np.zeros(min(lengths), np.float32)
    for term, signal in zip(stem.terms, signals, strict=True):
        total += term.factor * signal[: len(total)]
    _check(stem, total)
    if _is_silent(total):
        total = total[:0]
    return np.round(total * (32_767 / FULL_SCALE)).astype(np.int16)


def _check(stem: Stem, signal: NDArray[np.float32]) -> None:
    paths = ", ".join(str(term.path) for term in stem.terms)
    if not np.isfinite(signal).all():
        raise HtmdsepError(f"{paths} holds NaN or infinite samples; re-export or remove it")
    if _is_silent(signal) and not stem.loose:
        raise HtmdsepError(f"{paths} is silent; remove it, or the song it belongs to")
    if (peak := float(np.abs(signal).max())) >= FULL_SCALE:
        raise HtmdsepError(f"{paths} peaks at {peak:.1f}, above {FULL_SCALE}; lower its gain")


def _is_silent(signal: NDArray[np.float32]) -> bool:
    return not len(signal) or bool(np.sqrt(np.mean(signal**2)) < SILENCE_RMS)


def _decode_term(term: Term, sample_rate: int) -> NDArray[np.float32]:
    resampler: soxr.ResampleStream | None = None
    parts = []
    for rate, block in mono_blocks(term.path, term.stream):
        if resampler is None:
            resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
        parts.append(resampler.resample_chunk(block))
    if resampler is None:
        return np.zeros(0, np.float32)
    parts.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    return np.concatenate(parts)


def total_seconds(stems: Iterator[CachedStem], sample_rate: int) -> float:
    """Return the summed duration of stems."""
    return sum(len(stem.samples) for stem in stems) / sample_rate
