"""Programs in this process, as a shell has them but for the signals."""

from __future__ import annotations

from typing import Any

import click
from click.testing import CliRunner, Result

from htmdsep.console import exit_on_error


class Program(click.Command):
    """A command whose errors are told as `run_program` tells them."""

    def __init__(self, command: click.Command, name: str) -> None:
        super().__init__(name)
        self._command = command

    def main(self, *arguments: Any, **settings: Any) -> Any:
        with exit_on_error(self.name or ""):
            return self._command.main(*arguments, **settings)


def invoke_program(command: click.Command, name: str, *words: object) -> Result:
    """Run a program with such words on its command line."""
    result = CliRunner().invoke(Program(command, name), [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result
