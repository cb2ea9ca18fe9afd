"""What is evaluated: networks, folders of estimates, the mixture, and oracles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from torch import Tensor, nn

from htmdsep.catalogue import WeightsFile, find_weights
from htmdsep.choice import pick_device
from htmdsep.errors import HtmdsepError
from htmdsep.evaluation.estimates import find_estimate, fit_estimate
from htmdsep.evaluation.oracles import Oracle, ideal_ratio_mask, multichannel_wiener
from htmdsep.evaluation.signals import Signals, in_blocks
from htmdsep.model import HTMDNet, HTMDNetConfig, NetworkOutput
from htmdsep.separator import Separator, Stems
from htmdsep.weights_file import WeightsInfo, load_weights, read_info

if TYPE_CHECKING:
    from htmdsep.model import Network

MASKED = " (masked)"  # ends the label of a network's intermediate estimate
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
        return f"{self.located.hash()} channels masked={self.masked}"

    def estimate(self, signals: Signals, title: str) -> Stems:
        """Separate a song's mixture, block by block."""
        del title
        separator = self._separator
        pairs = separator.separate_blocks(in_blocks(signals.mixture), signals.sample_rate)
        parts = list(pairs)
        return Stems(
            np.concatenate([part.vocals for part in parts]),
            np.concatenate([part.accompaniment for part in parts]),
        )

    @cached_property
    def _separator(self) -> Separator:
        located = self.located
        if not self.masked:
            return Separator(self.weights, device=self.device)
        device = pick_device(self.device)
        network, _ = load_weights(located.path, device, expected_sha256=located.sha256)
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
        vocals = fit_estimate(find_estimate(self.folder, title, "vocals"), signals)
        path = find_estimate(self.folder, title, "accompaniment", needed=False)
        if path is None:
            return Stems(vocals, signals.mixture - vocals)
        return Stems(vocals, fit_estimate(path, signals))


@dataclass(frozen=True)
class MixtureSystem:
    """The mixture as the estimate of either source: the lower bound."""

    label: str = "mixture"

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        return "mixture"

    def estimate(self, signals: Signals, title: str) -> Stems:
        """Return the mixture twice."""
        del title
        return Stems(signals.mixture, signals.mixture)


@dataclass(frozen=True)
class OracleSystem:
    """A mask or filter that knows the truth: an upper bound."""

    label: str
    oracle: Oracle

    def fingerprint(self) -> str:
        """Tell what the scores depend on."""
        return f"oracle {self.oracle.__name__}"

    def estimate(self, signals: Signals, title: str) -> Stems:
        """Return what the oracle makes of the true sources."""
        del title
        vocals = self.oracle(signals.vocals, signals.accompaniment)
        return Stems(vocals, signals.mixture - vocals)


def estimate_excerpt(
    system: System, around: Signals, title: str, song: Signals, start_seconds: float
) -> np.ndarray:
    """Return a system's vocals of an excerpt that starts at so many seconds of a song.

    Networks and oracles run on the excerpt, as `htmdsep --start --duration` does; files are cut.
    """
    if not isinstance(system, FolderSystem):
        return system.estimate(around, title).vocals
    first = round(start_seconds * song.sample_rate)
    return system.estimate(song, title).vocals[first : first + len(around.vocals)]


System = NetworkSystem | FolderSystem | MixtureSystem | OracleSystem

BOUNDS: tuple[System, ...] = (
    MixtureSystem(),
    OracleSystem("ideal ratio mask", ideal_ratio_mask),
    OracleSystem("multichannel Wiener", multichannel_wiener),
)


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
