"""How quiet is silent: one level for each purpose, in dBFS RMS."""

from __future__ import annotations

SOUNDING_DBFS = -45.0  # above it a tenth of a second of a stem counts as sound in a report
WORTH_READING_DBFS = -50.0  # above it an excerpt is worth training on
INAUDIBLE_DBFS = -60.0  # below it nobody will hear anything
SUNG_DBFS = -70.0  # above it a validation window holds singing
EMPTY_DBFS = -80.0  # below it a file holds nothing


def power_of(level: float) -> float:
    """Return the mean square of a level in dBFS RMS, full scale at 1."""
    return float(10 ** (level / 10))
