"""Stems of earlier runs, which are no songs: what the manifests in the folders above them name."""

from __future__ import annotations

import os
import unicodedata
from contextlib import suppress
from pathlib import Path

from htmdsep.batch import storage
from htmdsep.batch.manifest import PATTERN, Index


class OwnStems:
    """The files that manifests name as stems; each manifest is read when one may lie below it."""

    def __init__(self) -> None:
        self._above: dict[str, tuple[frozenset[str], ...]] = {}  # of every folder that was asked

    def __contains__(self, name: str) -> bool:
        """Tell whether a file, which need not be there, is a stem; of what is at a URL, never."""
        named = () if storage.is_url(name) else self._named_above(os.path.dirname(name))  # noqa: PTH120
        if not named:  # which goes without saying of most
            return False
        place = unicodedata.normalize("NFC", storage.absolute(name))
        return any(place in stems for stems in named)

    def _named_above(self, folder: str) -> tuple[frozenset[str], ...]:
        if folder not in self._above:
            place = storage.absolute(folder)
            parent = os.path.dirname(place)  # noqa: PTH120
            higher = () if parent == place else self._named_above(parent)
            named = frozenset[str]()
            with suppress(OSError):  # what others keep to themselves holds no stems of ours
                named = frozenset(  # of songs that failed, too
                    unicodedata.normalize("NFC", storage.absolute(storage.join(place, output.path)))
                    for row in Index(Path(place).glob(PATTERN))
                    for output in row.outputs.values()
                )
            self._above[folder] = (*higher, named) if named else higher
        return self._above[folder]
