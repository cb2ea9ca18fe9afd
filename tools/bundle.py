"""Put weights into the package: `python tools/bundle.py FILE.safetensors NAME`.

Copies the file into the folder of bundled weights, and records its hash and the levels that
`htmdsep --self-test` checks. For maintainers, in a checkout.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from htmdsep.files import atomic_path, sha256
from htmdsep.separation.selftest import RECORD, SAMPLE_RATE, levels, synthesised_mixture
from htmdsep.separation.separator import Separator
from htmdsep.weights.catalogue import bundled_folder, record_hash
from htmdsep.weights.file import load_weights, read_info
from htmdsep.weights.graph import make_graph


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("name")
def bundle(file: Path, name: str) -> None:
    """Copy FILE into the package as NAME, with its hash and its self-test levels."""
    read_info(file)  # refuses what is no weights file
    target = bundled_folder() / f"{name}.safetensors"
    with atomic_path(target) as temporary:
        shutil.copyfile(file, temporary)
    digest = sha256(target)
    record_hash(target, digest)
    network, _ = load_weights(target)
    target.with_suffix(".onnx").write_bytes(make_graph(network, target, digest))
    mixture = synthesised_mixture()
    found = levels(
        mixture,
        Separator(name, device="cpu", precision="fp32").separate(mixture, SAMPLE_RATE).vocals,
    )
    record = bundled_folder() / RECORD
    known = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    with atomic_path(record) as temporary:
        known[name] = found
        temporary.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    click.echo(f"{target}: {found}")


if __name__ == "__main__":
    bundle()
