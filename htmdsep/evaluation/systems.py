"""What is evaluated: networks, folders of estimates, the mixture, and oracles."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from htmdsep.datasets.folders import Stem, Term, named_audio
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals, at_rate, decode_stem
from htmdsep.evaluation.slides import losses_of
from htmdsep.metrics.oracles import Oracle, ideal_ratio_mask, multichannel_wiener
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet
from htmdsep.options import StemName
from htmdsep.separation.arrays import Stems
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import find_weights
from htmdsep.weights.file import read_info

MASKED = " (masked)"  # ends the label of a network's intermediate estimate
# What other programs call the stems, in any case: Spleeter and museval, Demucs, others.
NAMES: dict[StemName, tuple[str, ...]] = {
    "vocals": ("vocals",),
    "accompaniment": ("accompaniment", "no_vocals", "instrumental", "instrum"),
}
CONVERSION_FRAMES = 1  # by which a change of rates may miss a length
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+*-]*")


@dataclass(frozen=True)
class System:
    """A way to estimate a song's stems: from its mixture, its title, or its true sources."""

    label: str
    fingerprint: str  # what the scores depend on
    estimate: Callable[[Signals, str], Stems]  # from a song's signals and title
    # What the tables tell of a network
    network: dict[str, Any] = field(default_factory=lambda: {"architecture": None, "masked": False})
    needs_whole_song: bool = False  # as the estimates are read from files


def run_network(weights: str, device: str, masked: bool, signals: Signals, _title: str) -> Stems:
    """Separate a song's mixture as the command line does."""
    return _separator(weights, device, masked).separate(signals.mixture, signals.sample_rate)


@cache
def _separator(weights: str, device: str, masked: bool) -> Separator:
    if not masked:
        return Separator(weights, device=device)
    network, _ = find_weights(weights).load()
    assert isinstance(network, HTMDNet)
    network.denoising = None  # so that the masked estimate is the final one
    return Separator(network, device=device)


def read_estimates(folder: Path, signals: Signals, title: str) -> Stems:
    """Read a song's estimates of another program: `<title>/vocals.*`, and accompaniment.* if any.

    An accompaniment that is missing is mixture minus vocals.
    """
    path = find_estimate(folder, title, "vocals")
    if path is None:
        wanted = folder / title / "vocals"
        raise HtmdsepError(f"{folder} has no estimate of {title!r}; give {wanted}.*")
    vocals = fit_estimate(path, signals)
    other = find_estimate(folder, title, "accompaniment")
    rest = fit_estimate(other, signals) if other else signals.mixture - vocals
    return Stems(vocals, rest, signals.sample_rate)


def use_mixture(signals: Signals, _title: str) -> Stems:
    """Return the mixture as the estimate of either source."""
    return Stems(signals.mixture, signals.mixture, signals.sample_rate)


def use_oracle(oracle: Oracle, signals: Signals, _title: str) -> Stems:
    """Return what a mask or filter that knows the true sources makes of them."""
    vocals = oracle(*signals)
    return Stems(vocals, signals.mixture - vocals, signals.sample_rate)


BOUNDS = (  # the lower one, and two upper ones
    System("mixture", "mixture", use_mixture),
    System("ideal ratio mask", "oracle ideal_ratio_mask", partial(use_oracle, ideal_ratio_mask)),
    System(
        "multichannel Wiener",
        "oracle multichannel_wiener",
        partial(use_oracle, multichannel_wiener),
    ),
)


def find_estimate(folder: Path, title: str, stem: StemName) -> Path | None:
    """Find a song's stem in `<title>/` or `<title>.stem/`, perhaps below `test/` or `train/`."""
    names = (title, f"{title}.stem")
    for place in [folder / below / name for below in ("", "test", "train") for name in names]:
        if found := named_audio(place, *NAMES[stem]):
            return found
    return None


def fit_estimate(path: Path, signals: Signals) -> np.ndarray:
    """Read an estimate at a song's rate, channels and length, (frames, channels) float32.

    A mono estimate stands for every channel; several channels are averaged for a mono song. Where
    the rates differ it is converted, and a frame at the end may be cut off or zero.
    """
    samples, rate = decode_stem(Stem(path.name, (Term(path),)))
    frames, channels = signals.vocals.shape
    if channels == 1:
        samples = samples.mean(axis=1, keepdims=True)
    elif samples.shape[1] not in (1, channels):
        raise HtmdsepError(
            f"{path} has {samples.shape[1]} channels, the song {channels}; convert it"
        )
    converted = at_rate(samples, rate, signals.sample_rate)
    spare = 0 if rate == signals.sample_rate else CONVERSION_FRAMES
    if abs(len(converted) - frames) > spare:
        raise HtmdsepError(
            f"{path} has {len(samples)} frames at {rate} Hz, the song {frames} at "
            f"{signals.sample_rate} Hz; estimates must be aligned to the sample"
        )
    fitted = np.zeros((frames, channels), np.float32)
    fitted[: len(converted)] = converted[:frames]  # a mono one into every channel
    return fitted


def labelled(text: str) -> tuple[str | None, str]:
    """Split `LABEL=VALUE`; the label is None where there is none.

    Raises HtmdsepError for a label that is no folder name.
    """
    label, found, value = text.partition("=")
    if not found:
        return None, text
    if not _LABEL.fullmatch(label):
        raise HtmdsepError(
            f"{label!r} cannot be a label; use letters, digits, spaces and '.', '_', '(', ')', "
            "'+', '*', '-'"
        )
    return label, value


def network_systems(weights: str, *, device: str, with_masked: bool) -> list[System]:
    """Return a network's final and, where it has one, intermediate estimate.

    `weights` is `[LABEL=]NAME|FILE`. Raises HtmdsepError for weights that are unknown.
    """
    label, value = labelled(weights)
    located = find_weights(value)
    label = label or located.name
    info = read_info(located.path)
    architecture = info.config.architecture
    losses = losses_of(f"{label} {info.name} {located.name}", info.provenance)
    has_masked = with_masked and isinstance(info.config, HTMDNetConfig)
    systems = []
    for masked in (False, True) if has_masked else (False,):
        # "channels": each goes through the network by itself, which was a choice once.
        fingerprint = f"{located.hash()} channels masked={masked}"
        network = {"architecture": architecture, "masked": masked, "losses": losses, "final": label}
        estimate = partial(run_network, value, device, masked)
        systems.append(System(label + MASKED * masked, fingerprint, estimate, network))
    return systems


def folder_system(estimates: str) -> System:
    """Return the system of `[LABEL=]FOLDER`; raise HtmdsepError where that is no folder."""
    label, value = labelled(estimates)
    folder = Path(value)
    if not folder.is_dir():
        raise HtmdsepError(f"{folder} is not a folder; give one with <title>/vocals.*")
    return System(
        label or folder.resolve().name,
        f"folder {folder.resolve()}",
        partial(read_estimates, folder),
        needs_whole_song=True,
    )
