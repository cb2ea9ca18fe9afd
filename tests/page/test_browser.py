"""The page in a real browser, from file://: it plays, jumps, mutes, loops, and logs no error.

Where there is no chromium, as Debian calls it, these tests are skipped, but not in CI.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from htmdsep.page.songs import ListedSong, find_songs
from htmdsep.page.write import FOLDER, PAGE, write_page
from tests.page.stems import write_pair, write_sum

CHROMIUM = shutil.which("chromium")
QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    "--autoplay-policy=no-user-gesture-required",
)
# The page's players, to be seen by the tests
SEEN = """
window.players = [];
window.Audio = class extends Audio { constructor() { super(); players.push(this); } };
window.sounding = () => players.filter((one) => one.src && !one.paused && !one.muted)
  .map((one) => one.src.split("/").pop().replace(/\\..*/, "")).sort().join(" ");
"""
SECONDS = 8.0
PATIENCE = 120_000  # ms, on a busy machine
expect.set_options(timeout=PATIENCE)
ODD = "b <img src=x onerror=alert(1)> \"'&"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium; apt-get install chromium")
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a page of three songs, one with its original, and one that failed."""
    folder = tmp_path_factory.mktemp("page")
    out = folder / "out"
    whole = write_sum(write_pair(out / "a song", SECONDS), folder / "in" / "original.wav", 0.5)
    write_pair(out / ODD, SECONDS)
    write_pair(out / os.fsdecode(b"c \xff %41#?"), SECONDS)
    failed = ListedSong("0" * 16, "d.mp3", "", {}, status="failed", error="no <i>audio</i>")

    def songs(place: Path) -> list[ListedSong]:
        first, *rest = find_songs(place)
        return [replace(first, original=whole, notes=("a & note",)), *rest, failed]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("htmdsep.page.write.find_songs", songs)
        assert [error for _, error in write_page(out)][:3] == [None] * 3
    return out


@pytest.fixture
def page(browser: Browser, out: Path) -> Iterator[Page]:
    """Open the page; at the end nothing may have gone wrong, nor been fetched from elsewhere."""
    page = browser.new_page(viewport={"width": 1300, "height": 800})
    page.set_default_timeout(PATIENCE)
    wrong: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(SEEN)
    page.goto((out / PAGE).as_uri())
    expect(page.get_by_role("region", name="Player")).to_be_visible()
    yield page
    page.close()
    assert not wrong
    assert all(address.startswith(("file:", "data:")) for address in asked)


def at(page: Page) -> float:
    """Return the seconds on the clock."""
    minutes, seconds = (page.locator("#clock").text_content() or "").split(" ")[0].split(":")
    return 60 * int(minutes) + float(seconds)


def wait_until(page: Page, condition: str) -> None:
    page.wait_for_function(condition, timeout=PATIENCE)


def test_it_plays_and_pauses(page: Page) -> None:
    page.get_by_role("button", name="Play", exact=True).click()
    wait_until(page, "sounding() === 'accompaniment vocals'")
    page.wait_for_function("players.every((one) => one.currentTime > 0.3)")
    page.keyboard.press("Control+a")  # no key of ours
    page.get_by_role("button", name="Pause").press("Space")
    wait_until(page, "players.every((one) => one.paused)")
    assert at(page) >= 0.3


def test_what_plays_stays_together(page: Page) -> None:
    page.keyboard.press("Space")
    for place in (0.2, 0.6, 0.4):
        box = page.get_by_role("slider", name="Position").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + place * box["width"], box["y"] + 50)
        wait_until(page, f"players.every((one) => one.currentTime > {place * SECONDS + 0.1})")
        wait_until(
            page,
            "Math.max(...players.map((one) => one.currentTime))"
            " - Math.min(...players.map((one) => one.currentTime)) < 0.004",
        )
    assert place * SECONDS < at(page) < SECONDS


def test_arrows_and_the_end(page: Page) -> None:
    slider = page.get_by_role("slider", name="Position")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "0:06")
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "0:01")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert at(page) == pytest.approx(SECONDS - 0.05, abs=0.1)
    page.keyboard.press("Home")
    assert at(page) == 0


@pytest.mark.parametrize("by_key", [True, False])
def test_solo_and_mute(page: Page, by_key: bool) -> None:
    def press(word: str, name: str) -> None:
        button = page.get_by_role("button", name=f"{word} {name}")
        if by_key:
            number = ("mixture", "vocals", "accompaniment").index(name) + 1
            page.keyboard.press(f"{'Shift+' if word == 'Mute' else ''}Digit{number}")
        else:
            button.click()

    page.keyboard.press("Space")
    steps = (
        ("Solo", "vocals", "vocals"),
        ("Solo", "accompaniment", "accompaniment"),
        ("Solo", "accompaniment", "accompaniment vocals"),
        ("Mute", "vocals", "accompaniment"),
        ("Mute", "mixture", "accompaniment original"),
        ("Mute", "accompaniment", "original"),
    )
    for word, name, sounding in steps:
        press(word, name)
        wait_until(page, f"sounding() === '{sounding}'")
    muted = page.get_by_role("button", name="Mute vocals")
    expect(muted).to_have_attribute("aria-pressed", "true")


def test_mixture_and_sum_are_compared_at_one_level(page: Page) -> None:
    expect(page.get_by_text("the sum is turned down by 6.0 dB")).to_be_visible()
    page.keyboard.press("Space")
    page.keyboard.press("a")
    wait_until(page, "sounding() === 'original'")
    expect(page.get_by_role("button", name="Mixture", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    volumes = page.evaluate("players.map((one) => [one.src.includes('original'), one.volume])")
    assert {(mixture, round(volume, 2)) for mixture, volume in volumes if volume} == {(True, 1.0)}
    page.get_by_role("button", name="Sum", exact=True).click()
    wait_until(page, "sounding() === 'accompaniment vocals'")
    volumes = page.evaluate("players.filter((one) => !one.muted).map((one) => one.volume)")
    assert volumes == pytest.approx([0.5, 0.5], abs=0.01)


def test_without_an_original_the_mixture_is_the_sum(page: Page) -> None:
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("The mixture is the stems' sum: there is no original")).to_be_visible()
    expect(page.get_by_role("button", name="Mixture", exact=True)).to_be_disabled()
    page.keyboard.press("Space")
    page.keyboard.press("Digit1")
    wait_until(page, "sounding() === 'accompaniment vocals'")


def test_an_original_that_has_gone_is_told(browser: Browser, out: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.add_init_script(SEEN)
    page.route("**/original.wav", lambda route: route.abort())
    page.goto((out / PAGE).as_uri())
    expect(page.get_by_text("this browser cannot play the original")).to_be_visible()
    page.keyboard.press("Digit1")
    page.keyboard.press("Space")
    wait_until(page, "sounding() === 'accompaniment vocals'")
    page.close()


def test_a_range_is_repeated(page: Page) -> None:
    slider = page.get_by_role("slider", name="Position")
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20, steps=4)
    page.mouse.up()
    expect(
        page.get_by_role("button", name=re.compile(r"Loop 0:0[12]\.\d[^.]0:02\.\d"))
    ).to_be_visible()
    page.evaluate("window.back = 0; players[0].addEventListener('seeking', () => { back += 1; })")
    page.keyboard.press("Space")
    wait_until(page, "back >= 3")  # to its beginning, and twice from its end
    assert 0.24 * SECONDS < at(page) < 0.31 * SECONDS
    page.keyboard.press("Escape")
    wait_until(page, f"players[0].currentTime > {0.35 * SECONDS}")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("i")
    expect(
        page.get_by_role("button", name=re.compile(r"Loop 0:0\d\.\d[^.]0:08\.0"))
    ).to_be_visible()


def test_names_are_text_whatever_they_hold(page: Page) -> None:
    names = page.get_by_role("navigation").get_by_role("row").get_by_role("button")
    found = [text.strip() for text in names.all_inner_texts()][5:]  # behind those of the head
    assert found[0].startswith("a song") and "1 note" in found[0]
    assert found[1] == ODD and found[2] == "c \ufffd %41#?"
    assert found[3].startswith("d.mp3") and "failed" in found[3]
    expect(page.get_by_text("a & note")).to_be_visible()
    for number in (1, 2):
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("heading", level=2)).to_have_text(found[number])
        expect(page.get_by_role("region", name="Player")).to_be_visible()  # its file is loaded
        page.keyboard.press("Space")
        wait_until(page, "sounding() === 'accompaniment vocals'")
        page.wait_for_function("players.filter((one) => one.src).every((one) => one.currentTime)")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_text("no <i>audio</i>")).to_be_visible()
    expect(page.get_by_role("region", name="Player")).to_be_hidden()
    wait_until(page, "sounding() === ''")


def test_the_list_is_sorted_found_in_and_walked_by_keys(browser: Browser, tmp_path: Path) -> None:
    write_pair(tmp_path / "song", 0.5)
    ((_, error),) = write_page(tmp_path)
    songs = tmp_path / FOLDER / "songs.js"
    (row,) = json.loads(songs.read_text().removeprefix("const SONGS = ").rstrip(";\n"))
    rows = [row | {"name": f"song {n:03}", "seconds": (n * 7) % 500 + 1} for n in range(500)]
    songs.write_text(f"const SONGS = {json.dumps(rows)};\n")
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto((tmp_path / PAGE).as_uri())
    names = page.locator("#songs tr:visible button")
    expect(names).to_have_count(500)
    page.get_by_role("button", name="Length").click()
    page.get_by_role("button", name="Length").click()
    expect(names.first).to_have_text("song 357")
    expect(page.get_by_role("columnheader", name="Length")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.get_by_role("searchbox", name="Find a song").fill("SONG 49")
    expect(names).to_have_count(15)
    assert page.locator("#songs [tabindex='0']").count() == 1  # the list is one stop of Tab
    names.first.focus()
    page.keyboard.press("ArrowDown")
    expect(names.nth(1)).to_be_focused()
    assert error is None
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser: Browser, out: Path, scheme: str) -> None:
    """All text keeps 4.5 to 1 to its ground, as WCAG 2.2 asks at level AA."""
    page = browser.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.goto((out / PAGE).as_uri())
    names = ("ground", "panel", "chosen", "text", "quiet", "strong", "bad")
    tracks = ("mixture", "vocals", "accompaniment")
    colours: dict[str, str] = page.evaluate(
        "(names) => { const all = getComputedStyle(document.documentElement);"
        "return Object.fromEntries(names.map((n) => [n, all.getPropertyValue('--' + n)])) }",
        [*names, *tracks],
    )
    page.close()
    for ground in ("ground", "panel", "chosen"):
        for ink in ("text", "quiet", "bad", *(tracks if ground == "ground" else ())):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    assert contrast(colours["ground"], colours["strong"]) >= 4.5  # on the button that plays


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour.strip()[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
