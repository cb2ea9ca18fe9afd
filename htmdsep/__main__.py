"""The command htmdsep, also as `python -m htmdsep`; Ctrl-C may come while it is being imported."""

from __future__ import annotations

import sys


def main() -> None:
    """Import the command line and run it; Ctrl-C meanwhile ends it with status 130, as later."""
    try:
        from htmdsep.cli.command import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
