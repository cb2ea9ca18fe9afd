"""Options that the help lists in titled groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from htmdsep.console import GroupedOption

Command = TypeVar("Command", bound=Callable[..., Any])


def grouped(group: str, *options: tuple[str, dict[str, Any]]) -> Callable[[Command], Command]:
    """Decorate a command with the options of one group, in their order."""

    def decorate(command: Command) -> Command:
        for names, settings in reversed(options):
            click.option(*names.split(), cls=GroupedOption, group=group, **settings)(command)
        return command

    return decorate
