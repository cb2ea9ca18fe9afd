"""Draw what becomes of a batch's excerpts, before anything is computed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from htmdsep.training.augment.damage import draw_clipping, draw_coding
from htmdsep.training.augment.draws import floats, gains, rows_where
from htmdsep.training.augment.gaps import draw_gaps
from htmdsep.training.augment.leads import draw_leads
from htmdsep.training.augment.rooms import draw_placing
from htmdsep.training.augment.timbre import draw_formants
from htmdsep.training.augment.warp import draw_melodies
from htmdsep.training.plans import Balance, Choir, Master, Plan, Playing, Singing, Takes
from htmdsep.training.shares import PAIR, SONG_VOICE, VOICE, VOICELESS, MixSettings

HARMONIES = (-12.0, -5.0, -4.0, -3.0, 0.0, 3.0, 4.0, 7.0, 12.0)  # semitones of a second voice
DELAY_SECONDS = (0.005, 0.05)  # of second takes
DETUNING = 0.12  # semitones, standard deviation, of second takes
KEY = 4.0  # semitones that the music is transposed by, either way
LONGEST_SILENCE = 0.7  # of a segment, before or after the music


def draw_plan(
    rng: np.random.Generator,
    kinds: np.ndarray,
    settings: MixSettings,
    sample_rate: int,
    length: int,
) -> Plan:
    """Draw what becomes of rows of these kinds (rows,), `length` samples long at the end."""
    keys = rng.uniform(-KEY, KEY, (len(kinds), 1))
    return Plan(
        _draw_singing(rng, kinds, keys, settings, sample_rate, length),
        _draw_playing(rng, kinds, keys, settings, sample_rate, length),
        _draw_balance(rng, kinds, settings),
        _draw_master(rng, len(kinds), settings, length),
    )


def _draw_singing(
    rng: np.random.Generator,
    kinds: np.ndarray,
    keys: np.ndarray,
    settings: MixSettings,
    sample_rate: int,
    length: int,
) -> Singing:
    """Draw melodies, takes, a choir, gaps and rooms; true pairs stay in their song's key."""
    rows = len(kinds)
    wavering = np.where(kinds == VOICE, settings.melodic_voices, settings.melodic_song_voices)
    curves = draw_melodies(
        rng,
        length,
        sample_rate,
        melodic=rng.random(rows) < wavering,
        ranges=settings.melody,
    )
    curves = torch.where(torch.from_numpy(kinds == PAIR)[:, None], floats(keys), curves)
    return Singing(
        _draw_takes(rng, curves, kinds != PAIR, settings, sample_rate),
        _draw_choir(rng, (kinds == VOICE) | (kinds == SONG_VOICE), settings.choir),
        draw_gaps(rng, rows, length / sample_rate, settings.gaps),
        draw_placing(
            rng,
            rows,
            sample_rate,
            reverb_share=settings.reverb,
            equaliser=(4.0, 8.0),
            lowpass_share=0.2,
        ),
    )


def _draw_takes(
    rng: np.random.Generator,
    curves: Tensor,
    free: np.ndarray,
    settings: MixSettings,
    sample_rate: int,
) -> Takes:
    """Double some of the rows that are `free` (rows,) to change, and move formants of either."""
    doubled = (rng.random(len(free)) < settings.doubled) & free
    shape = (int(doubled.sum()), 1)
    intervals = rng.choice(HARMONIES, shape) * (rng.random(shape) < 0.5)
    sung = np.append(free, free[doubled])
    return Takes(
        curves,
        rows_where(doubled),
        floats(intervals + rng.normal(0, DETUNING, shape)),
        int(rng.uniform(*DELAY_SECONDS) * sample_rate),
        floats(rng.uniform(0.2, 1.0, shape)),
        draw_formants(
            rng,
            (rng.random(len(sung)) < settings.formants) & sung,
            settings.formant_semitones,
        ),
    )


def _draw_choir(rng: np.random.Generator, singing: np.ndarray, share: float) -> Choir:
    """Let another singing row's voice join, in a share of the singing rows."""
    rows = len(singing)
    steps = rng.integers(1, max(2, rows), rows)  # to another row; a batch may have but one
    order = (np.arange(rows) + steps) % rows
    joined = (rows > 1) & singing & singing[order] & (rng.random(len(singing)) < share)
    gain = rng.uniform(0.3, 1.0, (int(joined.sum()), 1))
    return Choir(rows_where(joined), torch.from_numpy(order[joined]), floats(gain))


def _draw_playing(
    rng: np.random.Generator,
    kinds: np.ndarray,
    keys: np.ndarray,
    settings: MixSettings,
    sample_rate: int,
    length: int,
) -> Playing:
    rows = len(kinds)
    odds = np.where(kinds == VOICELESS, settings.voiceless_leads, settings.leads)
    led = rows_where(rng.random(rows) < odds)
    return Playing(
        floats(keys),
        gains(rng.uniform(-12, 4, (rows, 1))),
        led,
        draw_leads(rng, len(led), length, sample_rate),
        draw_gaps(rng, len(led), length / sample_rate, 0.5),
        gains(rng.uniform(-16, 2, (len(led), 1))),
        draw_placing(
            rng,
            rows,
            sample_rate,
            reverb_share=0.0,
            equaliser=(5.0, 10.0),
            lowpass_share=0.2,
        ),
    )


def _draw_balance(rng: np.random.Generator, kinds: np.ndarray, settings: MixSettings) -> Balance:
    """Draw the vocals' level against the music's, and either's polarity."""
    shape = (len(kinds), 1)
    kinds = kinds[:, None]
    free, paired = rng.uniform(*settings.level, shape), rng.uniform(*settings.pair_gain, shape)
    polarities = rng.choice([-1.0, 1.0], shape) * (kinds != VOICELESS)
    bare = (rng.random(shape) < settings.bare) & (kinds != VOICELESS)
    return Balance(
        torch.from_numpy(kinds == PAIR),
        gains(np.where(kinds == PAIR, paired, free)),
        floats(polarities),
        floats(~bare * rng.choice([-1.0, 1.0], shape)),
    )


def _draw_master(rng: np.random.Generator, rows: int, settings: MixSettings, length: int) -> Master:
    levels = rng.normal(settings.input_level, settings.input_level_deviation, (rows, 1))
    return Master(
        draw_clipping(rng, rows, settings.clipped),
        draw_coding(rng, rows, settings.coded),
        gains(levels),
        _draw_sounding(rng, rows, settings.silence, length),
    )


def _draw_sounding(rng: np.random.Generator, rows: int, share: float, length: int) -> Tensor:
    """Let a share of the rows begin late or end early; (rows, 2) samples."""
    share_of_row = rng.uniform(0, LONGEST_SILENCE, rows) * (rng.random(rows) < share)
    silent = (share_of_row * length).astype(int)
    late = rng.random(rows) < 0.5
    first, end = np.where(late, silent, 0), length - np.where(late, 0, silent)
    return torch.from_numpy(np.stack([first, end], axis=1))
