"""Damage files and tell how the reader fared: a table of outcomes by kind of file."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from tests.fuzz.judge import WRONG
from tests.fuzz.run import fuzz


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=int, help="bytes of the beginning that are damaged")
    parser.add_argument("--keep", type=Path, help="folder for the files that are judged wrong")
    arguments = parser.parse_args()
    table: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for one in fuzz(
            arguments.files,
            arguments.seed,
            Path(folder),
            within=arguments.within,
            keep=arguments.keep,
        ):
            table.setdefault(one.kind.ending + " " + one.kind.codec, Counter())[one.outcome] += 1
            if one.outcome in WRONG:
                print(f"{one.number}: {one.kind.ending} {one.damage}: {one.outcome} {one.told}")
    outcomes = sorted({outcome for counts in table.values() for outcome in counts})
    print("| file |", " | ".join(outcomes), "|")
    for name, counts in sorted(table.items()):
        print("|", name, "|", " | ".join(str(counts[outcome]) for outcome in outcomes), "|")
    total = sum(table.values(), Counter[str]())
    print("| all |", " | ".join(str(total[outcome]) for outcome in outcomes), "|")
    return int(any(total[outcome] for outcome in WRONG))


if __name__ == "__main__":
    raise SystemExit(main())
