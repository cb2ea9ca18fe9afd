"""Stems as sums of decoded streams: the rule of the reader holds for data sets, too."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from htmdsep.datasets.folders import Stem, Term
from htmdsep.datasets.streams import stem_blocks
from htmdsep.errors import HtmdsepError
from tests.sounds import write_av, write_stem_file

RATE = 44_100


def read(
    *terms: Term, rate: int | None = None, channels: int | None = None
) -> tuple[int, np.ndarray]:
    with stem_blocks(Stem("songs/x/vocals", terms), rate, channels=channels) as (found, blocks):
        return found, np.concatenate(list(blocks))


def packed_song(path: Path, seconds: float) -> Path:
    """Write an .stem.mp4 of five streams, its index before its samples, as MUSDB18's."""
    time = np.arange(round(seconds * RATE)) / RATE
    sweeps = [0.2 * np.sin(2 * np.pi * hertz * time * (1 + time)) for hertz in range(50, 300, 50)]
    return write_stem_file(path, np.stack(sweeps), RATE)


def packet_places(path: Path, stream: int) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        packets = [one for one in container.demux(audio=stream) if one.size]
    return [(packet.pos or 0, packet.size) for packet in packets]


@pytest.mark.parametrize("stream", range(5))
def test_a_packed_song_that_was_cut_is_told(
    tmp_path: Path, stream: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed_song(tmp_path / "a.stem.mp4", 6.0)
    whole = read(Term(path, stream))[1]
    assert capsys.readouterr().err == "" and abs(len(whole) - 6 * RATE) < 0.1 * RATE
    places = packet_places(path, stream)
    path.write_bytes(path.read_bytes()[: places[len(places) // 2][0]])  # at a packet's border
    found = read(Term(path, stream))[1]
    assert abs(len(found) - 3 * RATE) < 0.1 * RATE
    assert "it may be cut: its header announces 6.0" in capsys.readouterr().err


def test_what_follows_a_damaged_packet_stays_aligned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed_song(tmp_path / "a.stem.mp4", 6.0)
    whole = read(Term(path, 4))[1]
    place, size = packet_places(path, 4)[100]
    data = bytearray(path.read_bytes())
    data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    found = read(Term(path, 4))[1]
    assert len(found) == len(whole)
    assert np.abs(found[-3 * RATE :] - whole[-3 * RATE :]).max() < 1e-3
    assert "damaged: silence stands for what is lost" in capsys.readouterr().err


def test_terms_of_other_formats_are_refused_unless_converted(tmp_path: Path) -> None:
    sound = np.full((RATE, 2), 0.25, np.float32)
    one = Term(write_av(tmp_path / "a.mka", sound, RATE, "flac"))
    other = Term(write_av(tmp_path / "b.mka", sound, 48_000, "flac"), factor=-1.0)
    with pytest.raises(HtmdsepError, match="44100 Hz, 2 channels and 48000 Hz, 2 channels"):
        read(one, other)
    with pytest.raises(HtmdsepError, match=r"different length \(a.mka 1.00 s, b.mka 0.92 s\)|^$"):
        rate, total = read(one, other, rate=RATE, channels=1)
        assert rate == RATE and total.shape[1] == 1
        assert np.abs(total[1_000:-1_000]).max() < 1e-3
        raise HtmdsepError("")
