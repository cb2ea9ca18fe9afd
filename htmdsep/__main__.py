"""`python -m htmdsep` is `htmdsep`."""

from htmdsep.cli.command import main

main()
