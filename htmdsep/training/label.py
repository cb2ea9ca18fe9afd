"""Songs without stems into pairs to learn from: labels, which a network's best passes make.

Wang et al., "Semi-supervised singing voice separation with noisy self-training", ICASSP 2021.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from htmdsep.datasets.folders import plan_outputs
from htmdsep.errors import HtmdsepError, explained
from htmdsep.options import STEM_NAMES, RunOptions
from htmdsep.separation.separator import Separator


def label_songs(songs: Path, out: Path, weights: str | None, options: RunOptions) -> Iterator[bool]:
    """Separate a file, or every one in a folder and its folders, telling of each if it was now.

    Its folder is called as the song is and holds vocals.flac and accompaniment.flac; where both
    are there already, they stay. What is noted of a song goes to standard error. Raises
    HtmdsepError where there is no audio, two songs have one name, or a file cannot be separated.
    """
    folders = plan_outputs(songs, lambda path: out / path.stem)
    separator = Separator(weights, replace(options, file_format="flac"))
    for folder, path in tqdm(folders.items(), desc="label", unit="song", disable=None):
        targets = {stem: folder / f"{stem}.flac" for stem in STEM_NAMES}
        if is_new := not all(target.exists() for target in targets.values()):
            with explained(str(path), of=HtmdsepError):
                report = separator.separate_file(path, targets)
            for note in report.notes:
                tqdm.write(f"{path}: {note}", file=sys.stderr)
        yield is_new
