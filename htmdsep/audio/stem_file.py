"""A stem file: one MP4 with a song and its stems, as DJ software takes it.

Native Instruments' format has five stereo streams, the mixture and four stems, and DJ software
refuses other numbers. As there, and in MUSDB18, vocals come last; the accompaniment is before them,
in place of drums, bass and other instruments, two of which are silent here.
"""

from __future__ import annotations

import json

import numpy as np

from htmdsep.dsp.quantise import Quantised

CHANNELS = 2
# Streams by what players show, and the colours of the stems
MIXTURE = "Mixture"
STEMS = {
    "Silent 1": "#009E73",
    "Silent 2": "#D55E00",
    "Accompaniment": "#CC79A7",
    "Vocals": "#56B4E9",
}
STREAMS = (MIXTURE, *STEMS)
# What players may do to the sum of stems, and need not
MASTERING = {
    "compressor": {
        "enabled": False, "ratio": 3, "attack": 0.003, "release": 0.3, "threshold": 0,
        "input_gain": 0.5, "output_gain": 0.5, "hp_cutoff": 300, "dry_wet": 50,
    },
    "limiter": {"enabled": False, "release": 0.05, "threshold": 0, "ceiling": -0.35},
}  # fmt: skip


def stem_manifest() -> bytes:
    """Return the JSON that names the stems, for the box moov/udta/stem."""
    stems = [{"name": name, "color": colour} for name, colour in STEMS.items()]
    return json.dumps({"version": 1, "mastering_dsp": MASTERING, "stems": stems}).encode()


def stem_streams(block: Quantised) -> np.ndarray:
    """Return the streams beside each other: (frames, 10), mono as two equal channels."""
    silence = np.zeros_like(block.mixture)
    streams = (block.mixture, silence, silence, block.accompaniment, block.vocals)
    return np.hstack([one.repeat(CHANNELS // one.shape[1], axis=1) for one in streams])
