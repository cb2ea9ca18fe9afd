"""Show the weights there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import click

from htmdsep.catalogue import PUBLISHED, list_weights
from htmdsep.errors import HtmdsepError
from htmdsep.options import DEFAULT_WEIGHTS
from htmdsep.weights_file import count_parameters, read_info


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


def _rows() -> Iterator[ModelRow]:
    """Yield the weights on this machine, then the published; what is amiss is only noted."""
    here = set()
    for weights in list_weights(_note):
        try:
            info, parameters = read_info(weights.path), count_parameters(weights.path)
        except HtmdsepError as error:
            _note(str(error))
            continue
        here.add(weights.name)
        rate = info.config.sample_rate
        yield ModelRow(weights.name, parameters, rate, info.licence, str(weights.path))
    for published in PUBLISHED:
        if published.name not in here:
            where = f"fetched by --name {published.name} from {published.url}"
            yield ModelRow(published.name, None, None, published.licence, where)


def _note(text: str) -> None:
    click.echo(f"htmdsep: {text}", err=True)
