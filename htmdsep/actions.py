"""What the command line can be asked to do; each action's modules are imported for it alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from htmdsep.settings import Settings


def act(settings: Settings) -> int:
    """Do what is asked for, and return the exit status."""
    if settings.list_models:
        from htmdsep.listing import list_models

        return list_models(as_json=settings.as_json)
    if settings.keras_file is not None:
        from htmdsep.catalogue import import_weights

        located = import_weights(settings.keras_file, settings.name)
        click.echo(f"{settings.keras_file} is now --name {located.name} ({located.path})", err=True)
        return 0
    if settings.report_on is not None:
        from htmdsep.reporting import print_summary

        return print_summary(settings.report_on, as_json=settings.as_json)
    if settings.merge_in is not None:
        from htmdsep.batch.manifest_file import merge_manifests

        songs = merge_manifests(Path(settings.merge_in))
        click.echo(f"{settings.merge_in}: one manifest of {songs} songs", err=True)
        return 0
    if settings.self_test:
        from htmdsep.selftest import self_test

        return self_test(settings.name or settings.weights, settings.device)
    from htmdsep.session import run_session

    return run_session(settings)
