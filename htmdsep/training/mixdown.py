"""From a drawn batch to mixtures: operations on whole batches, on the device they are on.

Nothing here copies from or to the device or waits for it; how many rows an operation changes is
known beforehand, from the shapes of what was drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

from htmdsep.training.augment.damage import drop_weak_bins, soft_clip
from htmdsep.training.augment.gaps import silence
from htmdsep.training.augment.leads import solo_leads
from htmdsep.training.augment.rooms import place
from htmdsep.training.augment.timbre import shift_formants
from htmdsep.training.augment.warp import fine_curves, resample_along
from htmdsep.training.cache import UNIT
from htmdsep.training.plans import Balance, Choir, Drawn, Master, Playing, Singing, Takes

SEMITONE_LIMIT = 12.0  # of a second take's curve
GAIN_LIMIT = 100.0  # of vocals that are quieter than the level asked for


def mix_down(drawn: Drawn, sample_rate: int, length: int) -> tuple[Tensor, Tensor]:
    """Return mixtures and their vocals, both (rows, length)."""
    excerpts, plan = drawn
    vocals = _sing(_signal(excerpts.vocals), plan.singing, sample_rate, length)
    music = resample_along(_signal(excerpts.music), plan.playing.keys.expand(-1, length))
    joined = _second_sources(music, _signal(excerpts.seconds), excerpts.second_rows, plan.playing)
    joined = _leads(joined, music, plan.playing, sample_rate)
    music = place(joined, plan.playing.placing, sample_rate)
    vocals, music = _balance(vocals, music, plan.balance)
    return _master(vocals + music, vocals, plan.master)


def _signal(integers: Tensor) -> Tensor:
    return integers.float().mul_(UNIT)


def _rms(signal: Tensor) -> Tensor:
    return signal.square().mean(dim=1, keepdim=True).sqrt()


def _sing(source: Tensor, singing: Singing, sample_rate: int, length: int) -> Tensor:
    vocals = _takes(source, singing.takes, length)
    vocals = _choir(vocals, singing.choir)
    vocals = silence(vocals, singing.gaps, sample_rate)
    return place(vocals, singing.placing, sample_rate)


def _takes(source: Tensor, takes: Takes, length: int) -> Tensor:
    """Sing along the curves, some rows twice, and move formants."""
    first = fine_curves(takes.curves, length)
    second = (first[takes.doubled] + takes.intervals).clamp_(-SEMITONE_LIMIT, SEMITONE_LIMIT)
    on_time = torch.nn.functional.pad(source, (0, takes.delay))
    late = torch.nn.functional.pad(source[takes.doubled], (takes.delay, 0))
    sung = resample_along(torch.cat([on_time, late]), torch.cat([first, second]))
    rows, ratios = takes.formants
    sung.index_copy_(0, rows, shift_formants(sung[rows], ratios))
    vocals = sung[: len(source)]
    return vocals.index_add_(0, takes.doubled, takes.gains * sung[len(source) :])


def _choir(vocals: Tensor, choir: Choir) -> Tensor:
    others = vocals[choir.others]
    gain = choir.gains * _rms(vocals[choir.rows]) / (_rms(others) + 1e-5)
    return vocals.index_add(0, choir.rows, gain * others)


def _second_sources(music: Tensor, seconds: Tensor, rows: Tensor, playing: Playing) -> Tensor:
    gain = playing.second_gains[rows] * _rms(music[rows]) / (_rms(seconds) + 1e-5)
    return music.index_add(0, rows, gain * seconds)


def _leads(joined: Tensor, music: Tensor, playing: Playing, sample_rate: int) -> Tensor:
    """Add solo leads to what has `joined` the music, at levels against the music's own."""
    rows = playing.lead_rows
    if not len(rows):
        return joined
    leads = solo_leads(playing.leads, music.shape[1], sample_rate)
    leads = silence(leads, playing.lead_gaps, sample_rate)
    return joined.index_add(0, rows, playing.lead_gains * _rms(music[rows]) * leads)


def _balance(vocals: Tensor, music: Tensor, balance: Balance) -> tuple[Tensor, Tensor]:
    free = (balance.gains * _rms(music) / (_rms(vocals) + 1e-5)).clamp_(max=GAIN_LIMIT)
    gain = torch.where(balance.paired, balance.gains, free) * balance.polarities
    return vocals * gain, music * balance.music


def _master(mixture: Tensor, vocals: Tensor, master: Master) -> tuple[Tensor, Tensor]:
    """Clip, code, level and trim the mixture as released music is; the vocals follow."""
    mixture, vocals = soft_clip(mixture, vocals, master.clipping)
    mixture, vocals = drop_weak_bins(mixture, vocals, master.coding)
    gain = master.levels / (_rms(mixture) + 1e-4)
    time = torch.arange(mixture.shape[1], device=mixture.device)
    first, end = master.sounding[:, :1], master.sounding[:, 1:]
    gain = gain * ((time >= first) & (time < end))  # (rows, time)
    return mixture * gain, vocals * gain
