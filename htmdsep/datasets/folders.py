"""Which files of a folder are songs, voices and accompaniments: MUSDB18, its HQ form, or plain.

Plain folders hold `songs/<title>/{vocals,accompaniment}.*` or `{mixture,vocals}.*`, and
`voices/**` and `accompaniment/**` for random mixing. What a network made of songs without stems
lies in `labels/<title>/` as songs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from htmdsep.errors import HtmdsepError
from htmdsep.files import AUDIO_ENDINGS

LENGTH_TOLERANCE_SECONDS = 0.1  # of signals that belong together; encoders pad by less
MUSDB_VOCALS = 4  # stream of a .stem.mp4; 0 is the mixture, 1 drums, 2 bass, 3 other
LAYOUTS = (
    "train/*.stem.mp4 (MUSDB18), train/<name>/{mixture,vocals}.wav (MUSDB18-HQ), "
    "songs/<title>/{vocals,accompaniment}.* or {mixture,vocals}.*, voices/*, accompaniment/*"
)


@dataclass(frozen=True)
class Term:
    """One decoded stream of a file, times a factor."""

    path: Path
    stream: int = 0
    factor: float = 1.0


@dataclass(frozen=True)
class Stem:
    """A signal by its name in the folder, as the sum of terms."""

    name: str
    terms: tuple[Term, ...]
    loose: bool = False  # unpaired or labelled: left out, not an error, where it is silent

    @property
    def title(self) -> str:
        """The name without the folder of its kind."""
        return self.name.partition("/")[2]

    @property
    def paths(self) -> str:
        """The stem's files, for messages."""
        return " and ".join(str(term.path) for term in self.terms)


@dataclass(frozen=True)
class Song:
    """An aligned pair of stems; their sum is the mixture."""

    title: str
    vocals: Stem
    accompaniment: Stem


@dataclass
class Library:
    """What a folder offers."""

    songs: list[Song] = field(default_factory=list)
    voices: list[Stem] = field(default_factory=list)
    accompaniments: list[Stem] = field(default_factory=list)
    labels: list[Song] = field(default_factory=list)  # whose stems a network made
    is_musdb: bool = False

    def stems(self) -> Iterator[Stem]:
        """Yield every stem that training may read."""
        for song in [*self.songs, *self.labels]:
            yield from (song.vocals, song.accompaniment)
        yield from [*self.voices, *self.accompaniments]


def find_library(folder: Path) -> Library:
    """Recognise a folder's layout and list its stems; raise HtmdsepError where it lacks some."""
    if not folder.is_dir():
        raise HtmdsepError(f"{folder} is not a folder; give the folder that holds {LAYOUTS}")
    library = Library(songs=_musdb_songs(folder / "train"))
    library.is_musdb = bool(library.songs)
    if not library.is_musdb:
        library.songs = [_plain_song(path) for path in _subfolders(folder / "songs")]
        library.labels = [_plain_song(path, "labels") for path in _subfolders(folder / "labels")]
        library.voices = _loose_stems(folder, "voices")
        library.accompaniments = _loose_stems(folder, "accompaniment")
    if not library.songs and not (library.voices and library.accompaniments):
        raise HtmdsepError(f"no song found in {folder}; looked for {LAYOUTS}")
    return library


def find_test_songs(folder: Path, subset: Literal["test", "train"] = "test") -> list[Song]:
    """List the songs to evaluate on: a subset of MUSDB18, else `songs/<title>/` or `<title>/`."""
    songs = _musdb_songs(folder / subset)
    for place in (folder / "songs", folder):
        if not songs:
            songs = [_plain_song(path) for path in _subfolders(place) if _audio_files(path)]
    if not songs:
        raise HtmdsepError(
            f"no song found in {folder}; looked for {subset}/*.stem.mp4, {subset}/<name>/"
            "{mixture,vocals}.wav, and songs/<title> or <title> with vocals.* and accompaniment.* "
            "or mixture.*"
        )
    return songs


def choose_names(names: Iterable[str], wanted: Iterable[str]) -> tuple[set[str], list[str]]:
    """Return the names that are wanted, and what of `wanted` matches none.

    A word is a name first, then a glob pattern. Accents may be composed or not.
    """
    forms = [(name, normalize("NFC", name)) for name in names]
    chosen: set[str] = set()
    missing = []
    for word in wanted:
        form = normalize("NFC", word)
        found = {name for name, known in forms if known == form}
        found = found or {name for name, known in forms if fnmatchcase(known, form)}
        chosen |= found
        if not found:
            missing.append(word)
    return chosen, missing


def check_lengths(name: str, lengths: Sequence[tuple[str, float]]) -> None:
    """Raise HtmdsepError where what belongs together differs in length by over 0.1 s."""
    seconds = [length for _, length in lengths]
    if max(seconds, default=0) - min(seconds, default=0) > LENGTH_TOLERANCE_SECONDS:
        told = ", ".join(f"{part} {length:.2f} s" for part, length in lengths)
        raise HtmdsepError(f"{name}: signals of different length ({told}); align them")


def plan_outputs(place: Path, target: Callable[[Path], Path]) -> dict[Path, Path]:
    """List a file, or those in a folder and its folders, by the `target` that each is made into.

    Raises HtmdsepError where there is no audio, and where two would have one target.
    """
    planned: dict[Path, Path] = {}
    for path in [place] if place.is_file() else _audio_below(place):
        made = target(path)
        if made in planned:
            raise HtmdsepError(f"{planned[made]} and {path} would both become {made}; rename one")
        planned[made] = path
    if not planned:
        raise HtmdsepError(f"no audio found in {place}; give a file or a folder with audio")
    return planned


def named_audio(folder: Path, *names: str) -> Path | None:
    """Return a folder's audio file of one of these names, in any case; it may have one at most."""
    found = [path for path in _audio_files(folder) if path.stem.lower() in names]
    if len(found) > 1:
        raise HtmdsepError(f"{folder} has more than one {names[0]} file; keep one of {found}")
    return found[0] if found else None


def _musdb_songs(folder: Path) -> list[Song]:
    songs = []
    for path in _audio_files(folder):
        if path.name.endswith(".stem.mp4"):
            vocals = Term(path, MUSDB_VOCALS)
            songs.append(_song(path.name.removesuffix(".stem.mp4"), vocals, _rest(path, vocals)))
    folders = [] if songs else [path for path in _subfolders(folder) if _audio_files(path)]
    if any((path / "mixture.wav").exists() for path in folders):
        songs = [_plain_song(path) for path in folders]
    return songs


def _plain_song(folder: Path, kind: str = "songs") -> Song:
    vocals = Term(_stem_file(folder, "vocals"))
    found = named_audio(folder, "accompaniment")
    music = (Term(found),) if found else _rest(_stem_file(folder, "mixture"), vocals)
    return _song(folder.name, vocals, music, kind)


def _rest(mixture: Path, vocals: Term) -> tuple[Term, Term]:
    """Return the mixture, the first stream of its file, minus the vocals, as in the paper."""
    return Term(mixture), replace(vocals, factor=-1.0)


def _song(title: str, vocals: Term, music: tuple[Term, ...], kind: str = "songs") -> Song:
    parts = (("vocals", (vocals,)), ("accompaniment", music))
    stems = (Stem(f"{kind}/{title}/{name}", terms, kind == "labels") for name, terms in parts)
    return Song(title, *stems)


def _stem_file(folder: Path, name: str) -> Path:
    found = named_audio(folder, name)
    if found is None:
        raise HtmdsepError(
            f"{folder} has no {name} file; a song needs vocals.* and accompaniment.* or mixture.*"
        )
    return found


def _loose_stems(root: Path, kind: str) -> list[Stem]:
    """List the files of a kind, those in folders below, as one a singer, too."""
    return [
        Stem(path.relative_to(root).as_posix(), (Term(path),), loose=True)
        for path in _audio_below(root / kind)
    ]


def _audio_below(folder: Path) -> list[Path]:
    below = [path for one in _subfolders(folder) for path in _audio_below(one)]
    return sorted(_audio_files(folder) + below)


def _audio_files(folder: Path) -> list[Path]:
    """List a folder's audio but for pipes, which may never be written; of no folder nothing."""
    found = (path for path in _shown(folder) if path.suffix.lower() in AUDIO_ENDINGS)
    return [path for path in found if not path.is_fifo()]


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in _shown(folder) if path.is_dir()]


def _shown(folder: Path) -> list[Path]:
    """List a folder but for what is hidden, as leavings of systems and editors are."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
