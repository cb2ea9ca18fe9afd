"""Speech into sung melodies, for voices to train on, by the WORLD vocoder (Morise et al., 2016).

Voiced parts last longer and get notes of a scale, with portamento, scoops, late vibrato and drift,
or, in some pieces, on the grid as by a pitch corrector. Dynamics are flattened, spectra tilted and
stretched a little. Five times real time on a core.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from tqdm import tqdm

from htmdsep.datasets.folders import Stem, Term, plan_outputs
from htmdsep.datasets.streams import stem_blocks
from htmdsep.errors import explained
from htmdsep.files import atomic_path

SAMPLE_RATE = 24_000  # Hz
FRAME_SECONDS = 0.005  # WORLD's default
PIECE_SECONDS = 30  # of speech that get one melody; WORLD takes 2 MB a second
PITCH_HERTZ = (70.0, 600.0)  # of speech
LEAST_VOICED = 0.15  # share of frames, in what is sung at all
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
RANGE = (-8.0, 10.0)  # semitones around the centre of a melody
RAISED = (0.0, 13.0)  # semitones of that centre over the speech's pitch
HIGHEST_CENTRE = 620.0  # Hz
STEPS = (-4, -3, -2, -1, -1, 0, 0, 1, 1, 2, 3, 4)  # degrees of the scale, from note to note
BEATS = (0.5, 1, 1, 1.5, 2, 3, 4)  # of a note
BEAT_SECONDS = (0.18, 0.5)
LONGER = (1.0, 2.6)  # times that voiced parts last
ON_GRID = 0.25  # share of pieces without vibrato and drift
LEVEL, PEAK = 0.1, 0.97  # RMS of what is written, and where it is clipped


class Speech(NamedTuple):
    """WORLD's analysis: pitch in Hz (frames,), 0 where unvoiced, and two spectra a frame."""

    pitch: np.ndarray
    envelope: np.ndarray  # (frames, bins), power
    noise: np.ndarray  # (frames, bins), aperiodic share


def sing_files(speech: Path, out: Path, seed: int) -> Iterator[Path]:
    """Sing a file, or every one in a folder and its folders, into FLAC files, yielding their paths.

    What hardly has a voice is left out, with a line on standard error.
    """

    def target(path: Path) -> Path:
        name = "-".join(path.relative_to(speech).parts) if path != speech else path.name
        return out / f"{name}.flac"

    bar = tqdm(plan_outputs(speech, target).items(), desc="sing", unit="file", disable=None)
    for number, (song_path, path) in enumerate(bar):
        rng = np.random.default_rng([seed, number])
        with stem_blocks(Stem(path.name, (Term(path),)), SAMPLE_RATE, channels=1) as (_, blocks):
            samples = np.concatenate(list(blocks))[:, 0].astype(np.float64)
        cuts = range(PIECE_SECONDS * SAMPLE_RATE, len(samples), PIECE_SECONDS * SAMPLE_RATE)
        sung = (sing(rng, piece) for piece in np.split(samples, cuts))
        songs = [song for song in sung if song is not None]
        if not songs:
            tqdm.write(f"{path} has hardly any voice and is left out", file=sys.stderr)
            continue
        encoded = io.BytesIO()  # soundfile does not say what kept it from writing a file
        soundfile.write(encoded, np.concatenate(songs), SAMPLE_RATE, format="FLAC")
        with atomic_path(song_path) as temporary:
            temporary.write_bytes(encoded.getbuffer())
        yield song_path


def sing(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray | None:
    """Return speech (time,) at SAMPLE_RATE sung, at -20 dBFS; None where hardly any is voiced."""
    with explained("singing needs pip install 'htmdsep[train]'", of=ImportError):
        import pyworld
    period = 1000 * FRAME_SECONDS
    if len(samples) < SAMPLE_RATE // 10:
        return None
    samples = np.ascontiguousarray(samples - samples.mean())
    pitch, times = pyworld.harvest(samples, SAMPLE_RATE, *PITCH_HERTZ, period)
    if np.mean(pitch > 0) < LEAST_VOICED:
        return None
    envelope = pyworld.cheaptrick(samples, pitch, times, SAMPLE_RATE)
    noise = pyworld.d4c(samples, pitch, times, SAMPLE_RATE)
    longer = lengthen(rng, Speech(pitch, envelope, noise))
    voiced = longer.pitch > 0
    centre = np.median(pitch[pitch > 0]) * 2 ** (rng.uniform(*RAISED) / 12)
    melody = draw_melody(rng, len(voiced), min(centre, HIGHEST_CENTRE)) * voiced
    spectra = (np.ascontiguousarray(one) for one in (colour(rng, longer), longer.noise))
    song = pyworld.synthesize(melody, *spectra, SAMPLE_RATE, period)
    song *= LEVEL / (np.sqrt(np.mean(song**2)) + 1e-9)
    return np.asarray(song.clip(-PEAK, PEAK).astype(np.float32))


def lengthen(rng: np.random.Generator, speech: Speech) -> Speech:
    """Let voiced frames last longer, each piece by a factor of its own."""
    durations = np.where(speech.pitch > 0, rng.uniform(*LONGER), 1.0)
    ends = np.cumsum(durations)
    places = np.interp(np.arange(int(ends[-1])), ends - durations, np.arange(len(ends)))
    before = places.astype(int)
    after, share = np.minimum(before + 1, len(ends) - 1), (places - before)[:, None]
    logs = np.log(speech.envelope + 1e-16)
    envelope = np.exp(logs[before] * (1 - share) + logs[after] * share)
    noise = speech.noise[before] * (1 - share) + speech.noise[after] * share
    firmer = noise ** rng.uniform(1.0, 2.2)  # sung vowels are less breathy
    voiced = speech.pitch[before] > 0
    return Speech(speech.pitch[before], envelope, np.where(voiced[:, None], firmer, noise))


def colour(rng: np.random.Generator, speech: Speech) -> np.ndarray:
    """Return envelopes of flatter dynamics, tilted and stretched in frequency."""
    voiced, bins = speech.pitch > 0, np.arange(speech.envelope.shape[1])
    level = 10 * np.log10(speech.envelope.mean(axis=1) + 1e-12)
    lift = (np.percentile(level[voiced], 80) - level) * rng.uniform(0, 0.5) * voiced
    octaves = np.log2(np.maximum(bins * SAMPLE_RATE / 2 / bins[-1], 300) / 600).clip(-1, 3)
    gains = 10 ** ((lift[:, None] + rng.uniform(-3, 6) * octaves) / 10)
    stretched = (bins / rng.uniform(0.9, 1.12)).clip(0, bins[-1]).astype(int)
    return np.asarray((speech.envelope * gains)[:, stretched])


def draw_melody(rng: np.random.Generator, frames: int, centre: float) -> np.ndarray:
    """Return pitches in Hz (frames,) of notes of a scale, around a centre in Hz."""
    root, scale = rng.integers(12), SCALES[rng.integers(len(SCALES))]
    middle = 12 * np.log2(centre / 440)
    ladder = np.sort([12 * octave + root + degree for octave in range(-5, 4) for degree in scale])
    ladder = ladder[(ladder >= middle + RANGE[0]) & (ladder <= middle + RANGE[1])]
    beat, on_grid = rng.uniform(*BEAT_SECONDS), rng.random() < ON_GRID
    index, curves, drawn = int(np.abs(ladder - middle).argmin()), [np.zeros(0)], 0
    before = float(ladder[index])
    while drawn < frames:
        index = int(np.clip(index + rng.choice(STEPS), 0, len(ladder) - 1))
        seconds = np.arange(int(rng.choice(BEATS) * beat / FRAME_SECONDS)) * FRAME_SECONDS
        curves.append(_note(rng, seconds, float(ladder[index]), before, on_grid))
        before, drawn = float(ladder[index]), drawn + len(seconds)
    semitones = np.concatenate(curves)[:frames]
    if not on_grid:
        drift = np.cumsum(rng.normal(0, 0.006, frames))
        semitones += drift - np.linspace(0, drift[-1], frames) + rng.normal(0, 0.03, frames)
    return np.asarray(440 * 2 ** (semitones / 12))


def _note(
    rng: np.random.Generator, seconds: np.ndarray, pitch: float, before: float, on_grid: bool
) -> np.ndarray:
    """Return a note's semitones: portamento from the note before, at times a scoop and vibrato."""
    glide = rng.uniform(0.002, 0.01) if on_grid else rng.uniform(0.015, 0.06)
    curve = pitch + (before - pitch) * np.exp(-seconds / glide)
    if on_grid:
        return curve
    if rng.random() < 0.25:
        curve -= rng.uniform(0.5, 2.5) * np.exp(-seconds / rng.uniform(0.03, 0.08))
    if len(seconds) * FRAME_SECONDS > 0.35:  # vibrato sets in late, on long notes
        depth = rng.uniform(0.15, 0.9) * ((seconds - rng.uniform(0.1, 0.4)) / 0.3).clip(0, 1)
        curve += depth * np.sin(2 * np.pi * rng.uniform(4.8, 6.8) * seconds + rng.uniform(0, 6))
    return curve
