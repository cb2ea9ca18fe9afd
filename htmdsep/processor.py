"""Which library computes a network on the processor."""

from __future__ import annotations

from importlib.util import find_spec

from htmdsep.config import ConvTasNetConfig, HTMDNetConfig, NetworkConfig
from htmdsep.devices import require_torch
from htmdsep.errors import HtmdsepError
from htmdsep.options import ENGINES, EngineName, Precision

FastConfig = (HTMDNetConfig, ConvTasNetConfig)  # of what the fast network can be made from

# Samples from one frame of the encoder to the next. Below this, PyTorch's operations earn their two
# seconds of import within a minute or two of audio (16/8 and 32/16, measured: docs/speed.md), at
# 512/128 in a quarter of an hour.
HEAVY_STRIDE = 64


def check_engine(engine: EngineName, device: str, precision: Precision) -> None:
    """Raise HtmdsepError where an engine is unknown, cannot do what is asked, or is not there."""
    if engine not in ENGINES:
        raise HtmdsepError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    if device != "cpu":
        if engine != "auto":
            raise HtmdsepError(f"engine {engine} computes on the CPU only: use --device cpu")
        return
    if engine == "numpy" and precision != "fp32":
        raise HtmdsepError(f"engine numpy has no {precision}: use --engine auto")
    if engine in ("torch", "openvino"):
        require_torch(f"engine {engine}", "use --engine numpy")
    elif precision != "fp32":
        require_torch(f"precision {precision}", "use --precision fp32")
    if engine == "openvino" and not (find_spec("openvino") and find_spec("onnx")):
        raise HtmdsepError("engine openvino needs pip install 'htmdsep[openvino]'")


def pick_engine(engine: EngineName, precision: Precision, config: NetworkConfig) -> EngineName:
    """Return what "auto" stands for on the CPU for a network, or the engine itself.

    Raises HtmdsepError where the engine has no such network.
    """
    if engine == "numpy" and not isinstance(config, FastConfig):
        raise HtmdsepError(f"engine numpy has no {config.architecture}: use --engine auto")
    if engine != "auto":
        return engine
    if precision != "fp32":
        return "torch"
    slow = isinstance(config, FastConfig) and find_spec("torch") is None
    return "numpy" if slow or starts_at_once(config) else "torch"


def starts_at_once(config: NetworkConfig) -> bool:
    """Tell whether a network is best run without PyTorch in fp32."""
    return isinstance(config, FastConfig) and config.encoder_stride >= HEAVY_STRIDE
