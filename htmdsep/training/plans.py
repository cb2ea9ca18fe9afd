"""What a batch is made of and what becomes of it, as plain values."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from htmdsep.training.augment.damage import Damage
from htmdsep.training.augment.gaps import Gaps
from htmdsep.training.augment.leads import Leads
from htmdsep.training.augment.rooms import Placing
from htmdsep.training.augment.timbre import Formants


class Excerpts(NamedTuple):
    """Sources as they are in the cache, int16; the second ones join the music of some rows."""

    vocals: Tensor  # (rows, source_time)
    music: Tensor  # (rows, source_time)
    seconds: Tensor  # (n, time)
    second_rows: Tensor  # (n,)


class Takes(NamedTuple):
    """How voices are sung: along curves (rows, points), and twice where `doubled` (n,)."""

    curves: Tensor  # semitones
    doubled: Tensor  # rows
    intervals: Tensor  # (n, 1), semitones of the second take over the first
    delay: int  # samples by which second takes come late
    gains: Tensor  # (n, 1), of second takes
    formants: Formants  # of the rows, and after them of the second takes


class Choir(NamedTuple):
    """Which rows' voices (n,) others (n,) join, with gains (n, 1) against the rows' own level."""

    rows: Tensor
    others: Tensor
    gains: Tensor


class Singing(NamedTuple):
    """What becomes of the vocals."""

    takes: Takes
    choir: Choir
    gaps: Gaps
    placing: Placing


class Playing(NamedTuple):
    """What becomes of the music; gains are against the level of the rows that something joins."""

    keys: Tensor  # (rows, 1), semitones
    second_gains: Tensor  # (rows, 1); those of rows with second sources count
    lead_rows: Tensor  # (n,)
    leads: Leads
    lead_gaps: Gaps  # in the n leads
    lead_gains: Tensor  # (n, 1)
    placing: Placing


class Balance(NamedTuple):
    """Levels, all (rows, 1)."""

    paired: Tensor  # whether the levels of a song are kept
    gains: Tensor  # of such vocals; of others against the music's level
    polarities: Tensor  # of the vocals; 0 where there are none
    music: Tensor  # the music's polarity; 0 where the vocals are alone


class Master(NamedTuple):
    """What becomes of the mixture."""

    clipping: Damage
    coding: Damage
    levels: Tensor  # (rows, 1), RMS of the mixture while it sounds
    sounding: Tensor  # (rows, 2): the first sample that sounds, and the first that no longer does


class Plan(NamedTuple):
    """All that is drawn for a batch besides its excerpts."""

    singing: Singing
    playing: Playing
    balance: Balance
    master: Master


class Drawn(NamedTuple):
    """A batch before it is mixed."""

    excerpts: Excerpts
    plan: Plan
