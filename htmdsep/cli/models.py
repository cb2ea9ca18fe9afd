"""Weights, listed, imported and tested."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from htmdsep.errors import HtmdsepError
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.weights.catalogue import PUBLISHED, import_weights, list_weights, recorded_hash
from htmdsep.weights.file import count_parameters, read_info


@dataclass(frozen=True)
class ModelRow:
    """A line of the list."""

    name: str
    parameters: int | None  # None for weights that are not on this machine
    sample_rate: int | None  # Hz
    licence: str
    where: str  # a path, or the address it would be downloaded from


def list_models(*, as_json: bool) -> int:
    """Print the weights on this machine and those that can be had; return the exit status."""
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
    from htmdsep.weights.graph import read_graph

    located = import_weights(path, name)
    read_graph(located.path, located.hash())  # made now, so that no song waits for PyTorch
    click.echo(f"{path} is now --name {located.name} ({located.path})", err=True)
    return 0


def self_test(weights: str | Path | None, device: str) -> int:
    """Print what was checked and found; return 0 where all is as it should be, else 1."""
    from htmdsep.separation.selftest import run_self_test

    checks, times_real_time = run_self_test(weights, device)
    for what, passed in checks.items():
        click.echo(f"{'ok' if passed else 'FAILED':<7}{what}")
    click.echo(f"       {times_real_time:.1f} times real time")
    return 0 if all(checks.values()) else 1


def _rows() -> Iterator[ModelRow]:
    """Yield the weights on this machine, then the published; what is amiss is only noted."""
    here = set()
    try:
        for path in list_weights():
            if (row := _row(path)) is not None:
                here.add(row.name)
                yield row
    except HtmdsepError as error:
        _note(error)
    for published in PUBLISHED:
        if published.name not in here:
            where = f"fetched by --name {published.name} from {published.url}"
            yield ModelRow(published.name, None, None, published.licence, where)


def _row(path: Path) -> ModelRow | None:
    try:
        recorded_hash(path)  # without one the file cannot be used
        info, parameters = read_info(path), count_parameters(path)
    except HtmdsepError as error:
        _note(error)
        return None
    return ModelRow(path.stem, parameters, info.config.sample_rate, info.licence, str(path))


def _note(error: HtmdsepError) -> None:
    click.echo(f"htmdsep: {error}", err=True)
