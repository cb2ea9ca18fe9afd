"""Run the benchmark: `python -m htmdsep.bench`."""

from htmdsep.bench.cli import main

if __name__ == "__main__":
    main()
