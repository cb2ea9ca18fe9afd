"""What is evaluated: networks, folders of estimates, the mixture, and oracles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from htmdsep.datasets.folders import Stem, Term
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals, at_rate, decode_stem
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.metrics.oracles import Oracle, ideal_ratio_mask, multichannel_wiener
from htmdsep.options import StemName
from htmdsep.separation.arrays import Stems
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import WeightsFile, find_weights
from htmdsep.weights.file import WeightsInfo, read_info

# What other programs call the stems, in any case: Spleeter and museval, Demucs, others.
NAMES: dict[StemName, tuple[str, ...]] = {
    "vocals": ("vocals",),
    "accompaniment": ("accompaniment", "no_vocals", "instrumental", "instrum"),
}
CONVERSION_FRAMES = 1  # by which a change of rates may miss a length
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+*-]*")


@dataclass(frozen=True)
class System:
    """What is evaluated under a label; it is pickled for the songs' processes."""

    label: str

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        raise NotImplementedError

    def estimate(self, signals: Signals, title: str) -> Stems:
        """Return a song's stems at the rate, channels and length of its signals."""
        raise NotImplementedError


@dataclass(frozen=True)
class NetworkSystem(System):
    """Weights, run as the command line runs them."""

    weights: str  # a name or a path
    device: str = "auto"

    @cached_property
    def located(self) -> WeightsFile:
        """The weights file."""
        return find_weights(self.weights)

    @cached_property
    def info(self) -> WeightsInfo:
        """What the weights file says of itself."""
        return read_info(self.located.path)

    @cached_property
    def _separator(self) -> Separator:
        return Separator(self.weights, device=self.device)

    def fingerprint(self) -> str:
        # The words are choices of version 0.1.0, whose scores still count
        return f"{self.located.hash()} channels masked=False"

    def estimate(self, signals: Signals, title: str) -> Stems:  # noqa: ARG002
        return self._separator.separate(signals.mixture, signals.sample_rate)


@dataclass(frozen=True)
class FolderSystem(System):
    """Estimates of any other program: `<folder>/<title>/vocals.*`, and accompaniment.* if any."""

    folder: Path

    def fingerprint(self) -> str:
        return f"folder {self.folder.resolve()}"

    def estimate(self, signals: Signals, title: str) -> Stems:
        path = find_estimate(self.folder, title, "vocals")
        if path is None:
            wanted = self.folder / title / "vocals"
            raise HtmdsepError(f"{self.folder} has no estimate of {title!r}; give {wanted}.*")
        vocals = fit_estimate(path, signals)
        other = find_estimate(self.folder, title, "accompaniment")
        rest = fit_estimate(other, signals) if other else signals.mixture - vocals
        return Stems(vocals, rest, signals.sample_rate)


@dataclass(frozen=True)
class MixtureSystem(System):
    """The mixture as the estimate of either source: the lower bound."""

    def fingerprint(self) -> str:
        return "mixture"

    def estimate(self, signals: Signals, title: str) -> Stems:  # noqa: ARG002
        return Stems(signals.mixture, signals.mixture, signals.sample_rate)


@dataclass(frozen=True)
class OracleSystem(System):
    """A mask or filter that knows the truth: an upper bound."""

    oracle: Oracle

    def fingerprint(self) -> str:
        return f"oracle {self.oracle.__name__}"

    def estimate(self, signals: Signals, title: str) -> Stems:  # noqa: ARG002
        vocals = self.oracle(signals.vocals, signals.accompaniment)
        return Stems(vocals, signals.mixture - vocals, signals.sample_rate)


BOUNDS: tuple[System, ...] = (
    MixtureSystem("mixture"),
    OracleSystem("ideal ratio mask", ideal_ratio_mask),
    OracleSystem("multichannel Wiener", multichannel_wiener),
)


def find_estimate(folder: Path, title: str, stem: StemName) -> Path | None:
    """Find a song's stem in `<title>/` or `<title>.stem/`, perhaps below `test/` or `train/`."""
    for place in (folder, folder / "test", folder / "train"):
        for name in (title, f"{title}.stem"):
            found = [
                path
                for path in (place / name).glob("*")
                if path.stem.lower() in NAMES[stem] and path.suffix.lower() in AUDIO_ENDINGS
            ]
            if len(found) > 1:
                raise HtmdsepError(f"{place / name} has more than one file for {stem}: keep one")
            if found:
                return found[0]
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
    spare = 0 if rate == signals.sample_rate else CONVERSION_FRAMES
    converted = at_rate(samples, rate, signals.sample_rate) if spare else samples
    if abs(len(converted) - frames) > spare:
        raise HtmdsepError(
            f"{path} has {len(samples)} frames at {rate} Hz, the song {frames} at "
            f"{signals.sample_rate} Hz; estimates must be aligned to the sample"
        )
    fitted = np.zeros((frames, channels), np.float32)
    fitted[: len(converted)] = converted[:frames]  # a mono one into every channel
    return fitted


def labelled(text: str) -> tuple[str | None, str]:
    """Split `[LABEL=]VALUE`; raise HtmdsepError for a label that is no folder name."""
    label, found, value = text.partition("=")
    if not found:
        return None, text
    if not _LABEL.fullmatch(label):
        raise HtmdsepError(
            f"{label!r} cannot be a label; use letters, digits, spaces and '.', '_', '(', ')', "
            "'+', '*', '-'"
        )
    return label, value


def network_system(weights: str, device: str) -> System:
    """Return the system of `[LABEL=]NAME|FILE`; raise HtmdsepError for weights that are unknown."""
    label, value = labelled(weights)
    system = NetworkSystem(label or Path(value).stem, value, device)
    _ = system.info
    return system


def folder_system(estimates: str) -> System:
    """Return the system of `[LABEL=]FOLDER`; raise HtmdsepError where that is no folder."""
    label, value = labelled(estimates)
    folder = Path(value)
    if not folder.is_dir():
        raise HtmdsepError(f"{folder} is not a folder; give one with <title>/vocals.*")
    return FolderSystem(label or folder.resolve().name, folder)
