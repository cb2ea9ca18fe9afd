"""The spectral masking network: a U-Net that looks at spectrograms and masks every bin.

Its form is that of Spleeter's U-Nets (R. Hennequin, A. Khlif, F. Voituret, M. Moussallam,
"Spleeter", JOSS 5(50), 2154, 2020), so that it can begin from their published weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htmdsep.networks.config import HIGH_BAND_HERTZ, VOICE_BAND_HERTZ, SpectralConfig
from htmdsep.networks.presence import presence

KERNEL, STRIDE = 5, 2
MOST_IN_PHASES = 64  # channels
LEAST_INSIDE = 16  # values between the dense layers of a level


class Halving(nn.Conv2d):
    """A convolution of stride 2, padded as TensorFlow pads for "same"."""

    PADDING = (1, 2)  # before, after

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, channels, frames, bins) to (batch, channels, frames / 2, bins / 2)."""
        return super().forward(F.pad(hidden, 2 * self.PADDING))


class Doubling(nn.ConvTranspose2d):
    """A transposed convolution of stride 2, less its first row and last two, columns alike; ReLU.

    Every other row and column meets every other weight of the kernel: four small convolutions, laid
    into one another. They are faster in ONNX Runtime and in training and take less memory than 25
    products a value that are added up afterwards (measured). It is left whole into a single
    channel, since ONNX Runtime computes as many channels at once as a register holds, and into very
    many, where cutting the kernel to pieces takes longer than it saves in a song.
    """

    def forward(self, hidden: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, channels, frames, bins) to (batch, channels, 2 * frames, 2 * bins)."""
        if not 1 < self.out_channels <= MOST_IN_PHASES:
            return F.relu(super().forward(hidden, output_size)[:, :, 1:-2, 1:-2])
        kernel = self.weight.flip(2, 3).transpose(0, 1)  # a convolution's: (out, in, rows, columns)
        phases = [
            F.relu(self.phase(hidden, kernel[:, :, row::STRIDE, column::STRIDE], row, column))
            for row, column in ((1, 1), (1, 0), (0, 1), (0, 0))
        ]
        return self.interleaved(phases)

    def phase(self, hidden: Tensor, kernel: Tensor, _row: int, _column: int) -> Tensor:
        """Return one of the convolutions, whose first weights are a row's and a column's."""
        frames, bins = hidden.shape[2:]
        # Of two weights comes a place too many
        return F.conv2d(hidden, kernel, self.bias, padding=1)[:, :, :frames, :bins]

    def interleaved(self, phases: list[Tensor]) -> Tensor:
        """Lay phases into one another: even and odd columns of even rows, then of odd ones."""
        return F.pixel_shuffle(torch.stack(phases, dim=2).flatten(1, 2), STRIDE)


class AcrossBins(nn.Module):
    """Add to each frame of each channel what two dense layers make of its bins; at first nothing.

    After the time-distributed layers of W. Choi and others, "Investigating U-Nets with various
    intermediate blocks for spectrogram-based singing voice separation", ISMIR 2020.
    """

    def __init__(self, bins: int, inside: int, leaky_slope: float) -> None:
        super().__init__()
        self.leaky_slope = leaky_slope
        self.narrow, self.widen = nn.Linear(bins, inside), nn.Linear(inside, bins)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (batch, channels, frames, bins) to the same shape."""
        found: Tensor = self.widen(F.leaky_relu(self.narrow(hidden), self.leaky_slope))
        return hidden + found


class SpectralMasking(nn.Module):
    """Map mixtures to the masked estimate of the vocals, and to its share above the network's band.

    The share is one of the mixture there, 0 to 1; all are (batch, channels, time).
    """

    window: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        eps, momentum = config.batchnorm_eps, config.batchnorm_momentum
        window = torch.hann_window(config.window_length)
        self.register_buffer("window", window, persistent=False)
        befores = (config.input_channels, *widths)
        self.down = nn.ModuleList(
            Halving(before, after, KERNEL, STRIDE)
            for before, after in zip(befores, widths, strict=False)
        )
        self.down_norm = nn.ModuleList(nn.BatchNorm2d(width, eps, momentum) for width in widths)
        afters = (*widths[-2::-1], 1)
        befores = (widths[-1], *(2 * width for width in afters[:-1]))  # with a skip, but the first
        self.up = nn.ModuleList(
            Doubling(before, after, KERNEL, STRIDE)
            for before, after in zip(befores, afters, strict=True)
        )
        self.up_norm = nn.ModuleList(nn.BatchNorm2d(width, eps, momentum) for width in afters)
        self.mask = nn.Conv2d(1, config.input_channels, 4, dilation=2, padding=3)
        levels = range(1, len(widths))
        self.down_dense = nn.ModuleList(self._dense(config.bins >> level) for level in levels)
        self.up_dense = nn.ModuleList(self._dense(config.bins >> level) for level in levels[::-1])

    def _dense(self, bins: int) -> nn.Module:
        """Return the dense layers of a level of so many bins, or what stands for none."""
        if not (narrowing := self.config.dense_narrowing):
            return nn.Identity()
        return AcrossBins(bins, max(LEAST_INSIDE, bins // narrowing), self.config.leaky_slope)

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        batch, channels, time = mixture.shape
        rows = mixture.reshape(-1, time).float()
        transform = (config.window_length, config.hop_length)
        found = torch.stft(rows, *transform, window=self.window, return_complex=True)
        spectra = found.transpose(1, 2)  # (rows, frames, bins)
        frames = spectra.shape[1] - 1  # a multiple of 2**levels; the last one gets its mask
        magnitudes = config.magnitude_scale * spectra.abs()[:, :frames, : config.bins]
        masks = self.masks(magnitudes.reshape(batch, channels, frames, config.bins)).float()
        masks = masks.reshape(-1, frames, config.bins)
        above = spectra.shape[2] - config.bins
        masks = F.pad(masks, (0, above, 0, 1), mode="replicate")  # as spectra
        masked = (spectra * masks).transpose(1, 2)
        estimate = torch.istft(masked, *transform, window=self.window, length=time)
        first, last = config.bins_of(HIGH_BAND_HERTZ)
        gain = masks[:, None, :, first:last].mean(dim=3)  # (rows, 1, frames)
        gain = F.interpolate(gain, time + 1, mode="linear", align_corners=True)[..., :time]
        return estimate.reshape(mixture.shape), gain.reshape(mixture.shape)

    def masks(self, magnitudes: Tensor) -> Tensor:
        """Return masks in 0 to 1 for scaled magnitudes, both (batch, channels, frames, bins)."""
        hidden = magnitudes
        skips = []
        for convolution, norm, dense in zip(
            self.down[:-1], self.down_norm[:-1], self.down_dense, strict=True
        ):
            skips.append(convolution(hidden))
            hidden = dense(F.leaky_relu(norm(skips[-1]), self.config.leaky_slope))
        hidden = self.down[-1](hidden)  # the last one without norm and activation
        for convolution, norm, dense in zip(
            self.up[:-1], self.up_norm[:-1], self.up_dense, strict=True
        ):
            hidden = torch.cat([skips.pop(), dense(norm(convolution(hidden)))], dim=1)
        hidden = self.up_norm[-1](self.up[-1](hidden))
        masks: Tensor = torch.sigmoid(self.mask(hidden))
        return masks * self._presence(magnitudes, masks) if self.config.least_share else masks

    def _presence(self, magnitudes: Tensor, masks: Tensor) -> Tensor:
        """Return factors for masks, (batch, 1, frames, 1)."""
        config = self.config
        first, last = config.bins_of(VOICE_BAND_HERTZ)
        powers = magnitudes[..., first:last].square()
        sums = powers.sum(dim=(1, 3)), (powers * masks[..., first:last]).sum(dim=(1, 3))
        rate = config.sample_rate / config.hop_length
        return presence(*sums, config.least_share, rate)[:, None, :, None]
