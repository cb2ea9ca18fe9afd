"""The command `htmdsep-onnx`: a network as an ONNX file that says of itself what its weights do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from htmdsep import __version__
from htmdsep.console import run_program
from htmdsep.files import atomic_path, refuse_input

if TYPE_CHECKING:
    import onnx

    from htmdsep.networks.build import Network
    from htmdsep.weights.file import WeightsInfo


@click.command("htmdsep-onnx", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("weights")
@click.argument("out", metavar="OUT.onnx", type=click.Path(dir_okay=False, path_type=Path))
@click.version_option(__version__, prog_name="htmdsep-onnx")
def command(weights: str, out: Path) -> None:
    """Write the network of WEIGHTS, a file or a name of `htmdsep --list-models`, as ONNX.

    It maps "mixture" to "vocals", both float32 of shape (batch, 1, segment length), mono at the
    weights' sample rate; masks of spectra map "magnitudes" to "masks" instead. The length, the
    rate, the config, the licence and the provenance are in the file's metadata.
    """
    from htmdsep.weights.catalogue import find_weights

    located = find_weights(weights)
    refuse_input(out, located.path)
    network, info = located.load()
    export_onnx(out, network, info)
    length, rate = info.config.segment_length, info.config.sample_rate
    click.echo(f"{out}: segments of {length} samples at {rate} Hz, any number at once", err=True)


def export_onnx(path: Path, network: Network, info: WeightsInfo) -> None:
    """Write a network as ONNX, for any batch.

    The file's metadata are all strings: name, licence, config and provenance (JSON), sample_rate
    (Hz) and segment_length (samples). Raises HtmdsepError where the packages for it are missing.
    """
    from htmdsep.networks.config import config_to_dict
    from htmdsep.weights.graph import network_graph

    model = network_graph(network)
    _refuse_empty_batch(model.graph)
    model.producer_name, model.producer_version = "htmdsep", __version__
    texts = {
        "name": info.name,
        "licence": info.licence,
        "config": json.dumps(config_to_dict(info.config)),
        "provenance": json.dumps(info.provenance),
        "sample_rate": str(info.config.sample_rate),
        "segment_length": str(info.config.segment_length),
    }
    for key, value in texts.items():
        model.metadata_props.add(key=key, value=value)
    with atomic_path(path) as temporary:
        temporary.write_bytes(model.SerializeToString())


def _refuse_empty_batch(graph: onnx.GraphProto) -> None:
    """Let a graph fail on a batch of 0, at which ONNX Runtime's LSTM ends the process (1.32).

    A nought for every row is made, and the first of them, which there has to be, is added.
    """
    from onnx import helper

    (name,) = (value.name for value in graph.input)
    for node in graph.node:
        node.input[:] = [f"{name}:there" if one == name else one for one in node.input]
    told = "a batch of 0 is refused"
    guard = [
        helper.make_node("Shape", [name], [f"{name}:batch"], end=1),
        helper.make_node("ConstantOfShape", [f"{name}:batch"], [f"{name}:noughts"]),
        helper.make_node("Constant", [], [f"{name}:first"], value_int=0),
        helper.make_node("Gather", [f"{name}:noughts", f"{name}:first"], [f"{name}:nought"], told),
        helper.make_node("Add", [name, f"{name}:nought"], [f"{name}:there"]),
    ]
    nodes = [*guard, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    run_program(command)


if __name__ == "__main__":
    main()
