"""Other projects' implementations, loaded where they are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def museval_file(name: str) -> Path:
    """Return a file of museval, or skip the test where it is not installed."""
    found = importlib.util.find_spec("museval")
    if found is None or found.origin is None:
        pytest.skip("museval is not installed")
    return Path(found.origin).with_name(name)


def museval_metrics() -> ModuleType:
    """Load museval's metrics alone: the package asks for an ffmpeg program, they do not."""
    specification = importlib.util.spec_from_file_location(
        "museval_metrics", museval_file("metrics.py")
    )
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def museval_ratios(
    references: np.ndarray, estimates: np.ndarray, window: int, hop: int, filters: str
) -> np.ndarray:
    """Return SDR, ISR, SIR, SAR of (sources, frames, channels) as (4, sources, windows)."""
    found = museval_metrics().bss_eval(
        references, estimates, window=window, hop=hop, framewise_filters=filters == "window"
    )
    return np.stack(found[:4])
