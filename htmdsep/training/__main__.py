"""`python -m htmdsep.training`, which is also what torchrun starts."""

from __future__ import annotations

from htmdsep.training.cli import main

main()
