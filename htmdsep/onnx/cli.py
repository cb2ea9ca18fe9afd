"""The command `htmdsep-onnx`."""

from __future__ import annotations

from pathlib import Path

import click

from htmdsep.terminal import begin, errors_told
from htmdsep.version import __version__


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("weights")
@click.argument("out", metavar="OUT.onnx", type=click.Path(dir_okay=False, path_type=Path))
@click.version_option(__version__, prog_name="htmdsep-onnx")
def command(weights: str, out: Path) -> None:
    """Write the network of WEIGHTS, a file or a name of `htmdsep --list-models`, as ONNX.

    It maps "mixture" to "vocals", both float32 of shape (batch, 1, segment length), mono at the
    weights' sample rate. These two figures, the config, the licence and the provenance are in
    the file's metadata.
    """
    from htmdsep.catalogue import find_weights
    from htmdsep.onnx.export import export_onnx
    from htmdsep.weights_file import load_weights

    with errors_told("htmdsep-onnx"):
        located = find_weights(weights)
        network, info = load_weights(located.path, expected_sha256=located.sha256)
        export_onnx(out, network, info)
    length, rate = info.config.segment_length, info.config.sample_rate
    click.echo(f"{out}: segments of {length} samples at {rate} Hz, any number at once", err=True)


def main() -> None:
    """Run the command line; SIGHUP, SIGINT and SIGTERM end it with status 129, 130 and 143."""
    begin()
    command()
