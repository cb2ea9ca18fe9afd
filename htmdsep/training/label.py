"""Songs without stems into pairs to learn from: labels, which a network's best passes make.

Wang et al., "Semi-supervised singing voice separation with noisy self-training", ICASSP 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from htmdsep.datasets.folders import find_audio
from htmdsep.errors import HtmdsepError
from htmdsep.options import STEM_NAMES, RunOptions
from htmdsep.separation.separator import Separator


def label_songs(songs: Path, out: Path, weights: str | None, options: RunOptions) -> Iterator[Path]:
    """Separate a file, or every one in a folder and its folders, yielding a folder for each.

    It is called as the song is and holds vocals.flac and accompaniment.flac; where both are there
    already, they stay. Raises HtmdsepError where there is no audio, two songs have one name, or a
    file cannot be separated.
    """
    folders: dict[Path, Path] = {}
    for path in find_audio(songs):
        folder = out / path.stem
        if folder in folders:
            raise HtmdsepError(
                f"{folders[folder]} and {path} would have the same labels, {folder}; rename one"
            )
        folders[folder] = path
    separator = Separator(weights, replace(options, file_format="flac"))
    for folder, path in tqdm(folders.items(), desc="label", unit="song", disable=None):
        targets = {stem: folder / f"{stem}.flac" for stem in STEM_NAMES}
        if not all(target.exists() for target in targets.values()):
            separator.separate_file(path, targets)
        yield folder
