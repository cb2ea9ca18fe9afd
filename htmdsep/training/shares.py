"""The kinds of rows in random mixes, and how often what happens to them."""

from __future__ import annotations

from dataclasses import dataclass, field

from htmdsep.training.augment.warp import MelodyRange

INPUT_LEVEL = -16.0  # dBFS RMS: 10.00 dB of SDR on unseen clips, 9.98 at -15, 10.03 at -18
PAIR, SONG_VOICE, VOICE, VOICELESS = range(4)


@dataclass(frozen=True)
class MixSettings:
    """Shares are probabilities per row of a batch; decibels are uniform ranges."""

    pairs: float = 0.15  # true pairs of a song
    song_voices: float = 0.22  # a song's vocals over other music
    voiceless: float = 0.06  # the rest are unpaired voices
    melodic_voices: float = 0.7  # of the unpaired voices
    melodic_song_voices: float = 0.25
    doubled: float = 0.2  # a detuned, delayed second take, or a harmony
    choir: float = 0.1  # another row's voice joins
    formants: float = 0.6
    formant_semitones: float = 3.0  # standard deviation
    gaps: float = 0.4
    reverb: float = 0.4
    second_source: float = 0.25  # of accompaniment
    leads: float = 0.1
    voiceless_leads: float = 0.4
    bare: float = 0.03  # vocals without accompaniment
    level: tuple[float, float] = (-9.0, 6.0)  # dB of vocals over accompaniment
    pair_gain: tuple[float, float] = (-3.0, 8.0)  # dB on the vocals of true pairs
    input_level: float = INPUT_LEVEL  # dBFS RMS of the mixture, as inference brings it to
    input_level_deviation: float = 2.0  # dB, standard
    clipped: float = 0.1
    coded: float = 0.1
    silence: float = 0.1  # share of rows that begin or end in digital silence
    melody: MelodyRange = field(default_factory=MelodyRange)
