"""`python -m htmdsep` is `htmdsep`."""

from htmdsep.cli import main

main()
