"""What is evaluated: networks, folders of estimates, the mixture, and oracles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from torch import Tensor, nn

from htmdsep.datasets.folders import Stem, Term
from htmdsep.engines.choice import pick_device
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.signals import Signals, at_rate, decode_stem
from htmdsep.files import AUDIO_ENDINGS
from htmdsep.metrics.oracles import Oracle, ideal_ratio_mask, multichannel_wiener
from htmdsep.networks.config import HTMDNetConfig
from htmdsep.networks.htmdnet import HTMDNet, NetworkOutput
from htmdsep.options import StemName
from htmdsep.separation.arrays import Stems
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import WeightsFile, find_weights
from htmdsep.weights.file import WeightsInfo, load_weights, read_info

if TYPE_CHECKING:
    from htmdsep.networks.build import Network

MASKED = " (masked)"  # ends the label of a network's intermediate estimate
# What other programs call the stems, in any case: Spleeter and museval, Demucs, others.
NAMES: dict[StemName, tuple[str, ...]] = {
    "vocals": ("vocals",),
    "accompaniment": ("accompaniment", "no_vocals", "instrumental", "instrum"),
}
CONVERSION_FRAMES = 1  # by which a change of rates may miss a length
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()+*-]*")


@dataclass(frozen=True)
class NetworkSystem:
    """A network, run through the streaming path of the command line."""

    label: str
    weights: str  # a name or a path
    device: str = "auto"
    masked: bool = False  # the intermediate estimate instead of the final one

    @cached_property
    def located(self) -> WeightsFile:
        """The weights file."""
        return find_weights(self.weights)

    @cached_property
    def info(self) -> WeightsInfo:
        """What the weights file says of itself."""
        return read_info(self.located.path)

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        # "channels": each goes through the network by itself, which was a choice once.
        return f"{self.located.hash()} channels masked={self.masked}"

    def estimate(self, signals: Signals, _title: str) -> Stems:
        """Separate a song's mixture, block by block."""
        blocks = self._separator.separate_blocks([signals.mixture], signals.sample_rate)
        vocals, accompaniment = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return Stems(vocals, accompaniment, signals.sample_rate)

    @cached_property
    def _separator(self) -> Separator:
        if not self.masked:
            return Separator(self.weights, device=self.device)
        device = pick_device(self.device)
        network, _ = load_weights(self.located.path, device, expected_sha256=self.located.sha256)
        return Separator(cast("Network", _MaskedEstimate(network)), device=device)


class _MaskedEstimate(nn.Module):
    """A network whose estimate is the masked one."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.config = network, network.config

    def forward(self, mixture: Tensor) -> NetworkOutput:
        if not isinstance(self.network, HTMDNet):
            raise HtmdsepError(f"{self.config.architecture} has no masked estimate")
        return NetworkOutput(self.network.masking(mixture), None)


@dataclass(frozen=True)
class FolderSystem:
    """Estimates of any other program: `<folder>/<title>/vocals.*`, and accompaniment.* if any."""

    label: str
    folder: Path

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        return f"folder {self.folder.resolve()}"

    def estimate(self, signals: Signals, title: str) -> Stems:
        """Read a song's estimates; an accompaniment that is missing is mixture minus vocals."""
        path = find_estimate(self.folder, title, "vocals")
        if path is None:
            wanted = self.folder / title / "vocals"
            raise HtmdsepError(f"{self.folder} has no estimate of {title!r}; give {wanted}.*")
        vocals = fit_estimate(path, signals)
        other = find_estimate(self.folder, title, "accompaniment")
        rest = fit_estimate(other, signals) if other else signals.mixture - vocals
        return Stems(vocals, rest, signals.sample_rate)


@dataclass(frozen=True)
class MixtureSystem:
    """The mixture as the estimate of either source: the lower bound."""

    label: str = "mixture"

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        return "mixture"

    def estimate(self, signals: Signals, _title: str) -> Stems:
        """Return the mixture twice."""
        return Stems(signals.mixture, signals.mixture, signals.sample_rate)


@dataclass(frozen=True)
class OracleSystem:
    """A mask or filter that knows the truth: an upper bound."""

    label: str
    oracle: Oracle

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        return f"oracle {self.oracle.__name__}"

    def estimate(self, signals: Signals, _title: str) -> Stems:
        """Return what the oracle makes of the true sources."""
        vocals = self.oracle(signals.vocals, signals.accompaniment)
        return Stems(vocals, signals.mixture - vocals, signals.sample_rate)


System = NetworkSystem | FolderSystem | MixtureSystem | OracleSystem

BOUNDS: tuple[System, ...] = (
    MixtureSystem(),
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
    final = NetworkSystem(label or Path(value).stem, value, device)
    if not (with_masked and isinstance(final.info.config, HTMDNetConfig)):
        return [final]
    return [final, NetworkSystem(final.label + MASKED, value, device, masked=True)]


def folder_system(estimates: str) -> System:
    """Return the system of `[LABEL=]FOLDER`; raise HtmdsepError where that is no folder."""
    label, value = labelled(estimates)
    folder = Path(value)
    if not folder.is_dir():
        raise HtmdsepError(f"{folder} is not a folder; give one with <title>/vocals.*")
    return FolderSystem(label or folder.resolve().name, folder)
