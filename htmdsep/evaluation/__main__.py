"""Run `htmdsep-evaluate` as a module."""

from htmdsep.evaluation.cli import main

if __name__ == "__main__":
    main()
