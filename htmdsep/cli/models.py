"""Weights, listed and imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from htmdsep.catalogue import available, import_weights
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.published import PUBLISHED
from htmdsep.weightsfile import count_parameters, read_info


@dataclass(frozen=True)
class ModelRow:
    """A line of the list."""

    name: str
    parameters: int | None  # None for weights that are not on this machine
    sample_rate: int | None  # Hz
    licence: str
    where: str  # a path, or the address it would be fetched from


def list_models(*, as_json: bool) -> int:
    """Print the weights on this machine and those that can be fetched; return the exit status."""
    for row in _rows():
        if as_json:
            click.echo(json.dumps(asdict(row)))
            continue
        name = f"{row.name} (default)" if row.name == DEFAULT_WEIGHTS else row.name
        parameters = f"{row.parameters / 1e6:.1f} M" if row.parameters else "-"
        rate = f"{row.sample_rate} Hz" if row.sample_rate else "-"
        click.echo(f"{name:<22} {parameters:>7} {rate:>9}  {row.licence}\n    {row.where}")
    return 0


def import_keras(path: Path, name: str | None) -> int:
    """Convert a published Keras file for use by name; return the exit status."""
    located = import_weights(path, name)
    click.echo(f"{path} is now --name {located.name} ({located.path})", err=True)
    return 0


def _rows() -> Iterator[ModelRow]:
    here = set()
    for located in available():
        info = read_info(located.path)
        here.add(located.name)
        yield ModelRow(
            located.name,
            count_parameters(located.path),
            info.config.sample_rate,
            info.licence,
            str(located.path),
        )
    for published in PUBLISHED:
        if published.name not in here:
            where = f"fetched by --name {published.name} from {published.url}"
            yield ModelRow(published.name, None, None, published.licence, where)
