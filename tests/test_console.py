from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass, fields
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner, Result

from htmdsep import __version__
from htmdsep.console import (
    ENDING_SIGNALS,
    GroupedCommand,
    exit_on_error,
    flags,
    noted_signals,
    options_from,
    peak_rss_bytes,
    run_program,
)
from htmdsep.errors import HtmdsepError
from htmdsep.options import check_limits, option

SETUP = ConfigParser()
SETUP.read(Path(__file__).parent.parent / "setup.cfg", encoding="utf-8")
PROGRAMS = SETUP["options.entry_points"]["console_scripts"].split("\n")[1:]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """An option of every kind."""

    out: Path = option(help="Where to.", names="-o --out", group="Files")
    share: float = option(0.1, "A share.", least=0, most=0.9)
    seconds: float | None = option(None, "Time.", above=0, show_default="all of it")
    count: int = option(2, "How many.", least=1)
    pair: tuple[int, int] | None = option(None, "Two.", metavar="A B", least=1)
    titles: tuple[str, ...] = option((), "Titles.", names="--title")
    kind: Literal["plain", "odd"] = option("plain", "A kind.", flags={"--odd": "odd"}, names="-k")
    name: str = option("ours", "A name.", choices=("ours", "paper"))
    depth: Literal[16, 24] | None = option(
        None, flags={"--int16": (16, "Sixteen."), "--int24": (24, "Twenty-four.")}
    )
    quiet: bool = option(False, "Say nothing.")
    half: bool | None = option(None, "Halves.", names="--half/--no-half")
    inner: int = 7

    def __post_init__(self) -> None:
        check_limits(self)


def parse(*words: str) -> tuple[Settings, dict[str, Any]]:
    taken: list[tuple[Settings, dict[str, Any]]] = []

    @click.command(cls=GroupedCommand)
    @flags(Settings)
    @click.option("--other")
    def command(**values: Any) -> None:
        taken.append((options_from(Settings, values), values))

    result = CliRunner().invoke(command, words)
    if result.exit_code or not taken:
        raise click.UsageError(result.output)
    return taken[0]


def test_defaults_are_those_of_the_dataclass() -> None:
    settings, left = parse("-o", "x", "--other", "y")
    assert settings == Settings(out=Path("x"))
    assert left == {"other": "y"}


def test_every_kind_of_field_is_an_option() -> None:
    words = "--out x --share 0.5 --seconds 1 --count 3 --pair 4 5 --title a --title b --odd"
    words += " --name paper --int24 --quiet --no-half"
    settings, _ = parse(*words.split())
    assert settings == Settings(
        out=Path("x"),
        share=0.5,
        seconds=1.0,
        count=3,
        pair=(4, 5),
        titles=("a", "b"),
        kind="odd",
        name="paper",
        depth=24,
        quiet=True,
        half=False,
    )
    assert parse("-o", "x", "-k", "odd")[0].kind == "odd"


REFUSED = [
    ("share", 0.95), ("share", -0.1), ("share", float("nan")), ("seconds", 0.0), ("count", 0),
    ("seconds", float("inf")), ("name", "theirs"), ("kind", "even"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_command_and_python_refuse_alike(name: str, value: Any) -> None:
    word = "-k" if name == "kind" else f"--{name}"
    with pytest.raises(click.UsageError):
        parse("-o", "x", word, str(value))
    with pytest.raises(HtmdsepError, match=f"{name} must .*{value}"):
        Settings(out=Path("x"), **{name: value})


def test_what_is_required_is_missed() -> None:
    with pytest.raises(click.UsageError, match="Missing option"):
        parse()


def test_the_help_has_groups_and_defaults() -> None:
    with pytest.raises(click.UsageError) as raised:
        parse("--help")
    text = str(raised.value)
    assert text.index("Files:") < text.index("-o, --out") < text.index("Options:")
    for shown in ("default: 0.1", "default: all of it", "--int16", "--no-half", "[plain|odd]"):
        assert shown in text
    for absent in ("--odd", "--inner", "default: False"):
        assert absent not in text


def test_a_command_may_take_some_fields_only() -> None:
    @click.command()
    @flags(Settings, only=("share",))
    def command(share: float) -> None: ...

    assert [parameter.name for parameter in command.params] == ["share"]
    assert len(fields(Settings)) > 1


def test_an_error_is_a_line_that_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (HtmdsepError("no room; make some"), OSError(28, "No space left", "last.pt")):
        with pytest.raises(SystemExit) as raised, exit_on_error("program"):
            raise error
        assert raised.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "program: no room; make some",
        "program: last.pt: No space left",
    ]


@pytest.fixture
def handled() -> Iterator[None]:
    """Let every signal have Python's own handler, whatever the tests were started by."""
    before = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handled")
def test_signals_are_noted_while_one_listens_unless_ignored() -> None:
    for number in ENDING_SIGNALS:
        with noted_signals() as noted:
            assert not noted
            signal.raise_signal(number)
            assert noted == [number]
        assert signal.getsignal(number) is signal.default_int_handler
    signal.signal(ENDING_SIGNALS[-1], signal.SIG_IGN)  # as a hangup under nohup
    with noted_signals() as noted:
        signal.raise_signal(ENDING_SIGNALS[-1])
        assert not noted


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_that_comes_where_exceptions_are_lost_ends_the_process_without_a_word() -> None:
    program = """if True:
        import os, signal
        from htmdsep.console import end_if_asked, prepare_process

        class Finalised:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(100): pass

        class Broken:
            def __del__(self):
                raise ValueError("told")

        prepare_process()
        Finalised()
        Broken()
        print("after", flush=True)
        end_if_asked()
        print("too late")
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, "after\n")
    assert "SystemExit" not in done.stderr
    assert "ValueError: told" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_signal_that_comes_as_a_lock_is_taken_waits_until_it_is() -> None:
    """A pool's threads would wait for ever for one that an exception has left taken."""
    program = """if True:
        import functools, os, signal, threading, time
        from htmdsep.console import prepare_process

        class Lock:
            acquire = release = print
            __enter__ = functools.partial(os.kill, os.getpid(), signal.SIGTERM)
            __exit__ = functools.partial(print, "released", end=" ")

        prepare_process()
        with threading.Condition(Lock()):
            print("taken", end=" ")
            time.sleep(10)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[:2]) == (143, ["taken", "released"])


def test_memory_is_told() -> None:
    peak = peak_rss_bytes()
    assert peak is None or 1 << 20 < peak < 1 << 40


@dataclass(frozen=True)
class Several:
    kinds: tuple[Literal["a", "b"], ...] = option((), "Kinds.", names="--kind")
    lengths: tuple[float, ...] = option((), "Lengths.", names="--length", above=0)

    def __post_init__(self) -> None:
        check_limits(self)


def test_each_of_several_values_is_checked_and_arguments_are_no_options() -> None:
    @click.command(cls=GroupedCommand)
    @click.argument("song")
    @flags(Several)
    def command(song: str, **values: Any) -> None:
        print(song, options_from(Several, values))

    def run(*words: str) -> Result:
        return CliRunner().invoke(command, words)

    wanted = Several(("a", "b"), (1.0,))
    assert run("x", "--kind", "a", "--kind", "b", "--length", "1").output == f"x {wanted}\n"
    assert "[SONG]" not in run("--help").output.partition("Options:")[2]
    for name, value in (("kind", "c"), ("length", "nan"), ("length", "0")):
        assert run("x", f"--{name}", value).exit_code == 2
    for values in ({"kinds": ("a", "c")}, {"lengths": (1.0, float("nan"))}):
        with pytest.raises(HtmdsepError, match=f"{next(iter(values))} must"):
            Several(**values)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("error", ["ImportError('initialization failed')", "SystemExit(1)"])
def test_whatever_a_library_makes_of_a_signal_it_is_the_exit_status(error: str) -> None:
    """As pybind11's modules that are being imported, and Ray."""
    program = f"""if True:
        import os, signal
        import click
        from htmdsep.console import run_program

        @click.command()
        def command():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(100): pass
            except SystemExit as cause:
                raise {error} from cause

        run_program(command)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "")


def test_what_no_signal_has_brought_about_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def program() -> None:
        raise ImportError("failed")

    monkeypatch.setattr("sys.argv", ["program"])
    monkeypatch.setattr("htmdsep.console.prepare_process", lambda: None)
    with pytest.raises(ImportError, match="failed"):
        run_program(program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_tells_its_version(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, _, place = program.partition(" = ")
    monkeypatch.setattr("sys.argv", [name, "--version"])
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as evaluation sets it for good
    monkeypatch.setattr("htmdsep.console.prepare_process", lambda: None)
    with pytest.raises(SystemExit) as ended:
        resolve_name(place)()
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith(f", version {__version__}\n")
