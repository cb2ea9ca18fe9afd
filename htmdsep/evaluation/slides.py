"""The slides' own figures (EUSIPCO 2021), to print beside ours; text, as some are in doubt.

A question mark stands for what could not be read with certainty.
"""

from __future__ import annotations

import re
from typing import Any

ARCHITECTURES = {"htmdnet": "HTMD-Net", "convtasnet": "Conv-TasNet*", "waveunet": "Wave-U-Net"}
DEFAULT_LOSSES = {"htmdnet": "mse-mae", "convtasnet": "mae", "waveunet": "mae"}
_LOSSES = re.compile(r"(?:^|[^a-z])((?:mse|mae)(?:-(?:mse|mae))?)(?:[^a-z]|$)")


# Rows of Results I: SDR, SIR, SAR in dB, medians of song medians; the same of all segments, as
# median/mean; PES in dB and voice activity in percent.
_ROWS = {
    ("htmdnet", "mse-mse"): "5.16 10.23 8.53 4.69/0.60 9.80/6.98 7.92/6.53 -62.2 84.7",
    ("convtasnet", "mse"): "5.25? 9.74 8.85 4.83/-0.07 9.59/7.00 8.18/7.09 -57.8 82.5",
    ("waveunet", "mse"): "4.37 9.46 7.61 3.94?/-0.14 9.00/6.49 7.17/6.24 -61.4 82.1",
    ("htmdnet", "mae-mae"): "5.18 11.30 8.43 4.67/2.26 11.44/9.95 8.14/6.24 -80.1 85.3?",
    ("convtasnet", "mae"): "5.20? 10.73 8.? ?/1.63 10.81/8.80? 8.?/? -73.1 85.2",
    ("waveunet", "mae"): "3.97? 9.67? 8.17? 3.61/0.90 9.62/8.00 7.48/5.90 -70.0 82.8",
    ("htmdnet", "mae-mse"): "5.16 10.33 8.36 4.68/0.34 9.97/7.8? 8.06/6.63 -59.9 84.2",
    ("htmdnet", "mse-mae"): "5.21 11.29 8.34 4.74/2.21 10.90/9.03 7.95/6.04 -82.5 85.0",
    ("htmdnet", "mse"): "5.30 10.05 8.62 4.76/0.10 9.76/7.79 8.21/6.85 -57.1 82.4",
    ("htmdnet", "mae"): "5.?77 9.88 8.63 4.37/1.88 9.5?/8.02 7.94/6.43 -74.5 84.8",
}
# The masked estimate of HTMD-Net whose final loss is MAE, by the loss at that estimate.
MASKED_SEGMENTS = {
    "mse": ("4.36/-1.00", "8.21/5.78", "7.23/5.62"),
    "mae": ("4.09/0.20", "8.21/5.29", "7.79/7.06"),
    "none": ("-6.31/-13.1", "2.81/1.22", "7.26/1.25"),
}
# Results III: time without a unit, so that only ratios compare.
RUNTIMES = {
    "convtasnet": (5.5, 130.7, 0.65),  # million parameters, CPU, GPU
    "waveunet": (10.3, 13.6, 0.07),
    "htmdnet": (4.5, 50.5, 0.14),
}


def losses_of(label: str, provenance: dict[str, Any]) -> str | None:
    """Return the losses that a network was trained with, from its name or its training command."""
    for text in (label.lower(), str(provenance.get("command", ""))):
        if found := _LOSSES.search(text):
            return found.group(1)
    return None


def row_of(architecture: str, losses: str | None) -> list[str] | None:
    """Return the title and eight figures of the slides' row of a network, else of its best PES."""
    for known in (losses, DEFAULT_LOSSES.get(architecture)):
        if figures := _ROWS.get((architecture, known or "")):
            title = f"{ARCHITECTURES[architecture]} ({str(known).upper().replace('-', ', ')})"
            return [title, *figures.split()]
    return None
