"""What the programs share: their process, signals, errors, and flags made of dataclass fields."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import click

from htmdsep.errors import HtmdsepError
from htmdsep.options import Flag, choices_of, plain_type

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

M_ARENA_MAX = -8  # malloc.h of glibc
# What asks a program to end, also before a job's time is up; Windows has fewer.
ENDING_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGALRM")
ENDING_SIGNALS = tuple(getattr(signal, name) for name in ENDING_NAMES if hasattr(signal, name))


def run_program(command: click.Command, name: str | None = None) -> None:
    """Prepare the process, and run a program's command line, under the name it was started by."""
    prepare_process()
    try:
        with exit_on_error(name or command.name or ""):
            command(prog_name=name)
    finally:
        # Extension modules that are being imported, and Ray, make errors of a handler's SystemExit
        end_if_asked()


def prepare_process() -> None:
    """Prepare a program's process: standard error, waiting threads, signals.

    SIGINT, SIGTERM and SIGHUP end it by way of every `with`, with status 128 + n. One that is
    ignored stays so, as hangups are under nohup and SIGINT is where a script goes on.
    """
    if sys.stderr is None:  # closed, as some launchers do
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    # OpenMP's threads sleep while they wait: spinning took 1.8 times as long on two cores, busy or
    # idle (measured). OpenMP reads this when PyTorch is loaded; child processes inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # So do NumPy's, after 2^4 cycles: they have nothing to do, and spin for 0.1 s at first
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    _share_heap()
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _exit_on_signal)
    sys.unraisablehook = _pass_over_exit


def _share_heap() -> None:
    """Let all threads have one heap (glibc), in which one takes what another has given back.

    A song of five minutes takes 27 MB less so, and as much time (measured).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_ARENA_MAX, 1)


_signals: list[int] = []  # that have asked this process to end
# What an exception leaves a lock taken in, for which other threads then wait for ever
_LOCKING = (threading.Condition.__enter__.__code__, threading.Condition.__exit__.__code__)
_LATER_SECONDS = 0.01


def _exit_on_signal(number: int, frame: FrameType | None) -> None:
    _signals.append(number)
    if frame is not None and frame.f_code in _LOCKING and hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, _LATER_SECONDS)  # SIGALRM comes here, too
        return
    # Unwinds every `with`, so that temporary files are removed on the way out.
    raise SystemExit(128 + _signals[0])


def _pass_over_exit(lost: sys.UnraisableHookArgs) -> None:
    if not (_signals and isinstance(lost.exc_value, SystemExit)):
        sys.__unraisablehook__(lost)


def end_if_asked() -> None:
    """Raise SystemExit if a signal has come before.

    What a handler raises is lost where Python happens to be in a place that ignores exceptions, as
    when an object is finalised or a library's C calls back; so long work asks now and then.
    """
    if _signals:
        raise SystemExit(128 + _signals[0])


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Yield the signals that come, as a wish to save and end; those that are ignored stay so."""
    noted: list[int] = []
    before = {}
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, lambda number, _: noted.append(number))
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_on_error(program: str) -> Iterator[None]:
    """Turn what a user can mend into a line on standard error, and exit status 1."""
    try:
        yield
    except HtmdsepError as error:
        message = str(error)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # click ends quietly, with status 1
        place = error.filename or "standard output"
        message = f"{place}: {error.strerror}" if error.strerror else str(error)
    else:
        return
    print(f"{program}: {message}", file=sys.stderr)
    raise SystemExit(1)


def peak_rss_bytes() -> int | None:
    """Return the largest memory the process has had; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class GroupedCommand(click.Command):
    """A command whose help lists options under the titles of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            # click 8.5 has records of arguments, too.
            if record is not None and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Options"), []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


class GroupedOption(click.Option):
    """An option that belongs to a group of the help."""

    def __init__(self, *arguments: Any, group: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.group = group


class FiniteRange(click.FloatRange):
    """A range of floats without infinities, and without NaN, which no limit keeps out."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{number} is not a finite number.", param, ctx)
        return number


class TimeRange(FiniteRange):
    """A range of seconds, which may be written as 90, 90s, 1:30 or 1:02:03.5."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str):
            parts = value.strip().removesuffix("s").split(":")
            try:
                numbers = [float(part) for part in parts]
            except ValueError:
                numbers = []
            if not 1 <= len(numbers) <= 3 or any(not 0 <= number < 60 for number in numbers[1:]):
                self.fail(f"{value!r} is no time; write 90, 1:30 or 1:02:03.5.", param, ctx)
            value = sum(number * 60**power for power, number in enumerate(reversed(numbers)))
        return super().convert(value, param, ctx)


class BitrateRange(click.IntRange):
    """A range of kbit/s, which may be written as 192, 192k or 192000."""

    name = "bit rate"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str):
            value = value.strip().lower().removesuffix("k")
            if len(value) > 4:
                value = value.removesuffix("000")
        return super().convert(value, param, ctx)


def flags(kind: type, only: Collection[str] = ()) -> Callable[[F], F]:
    """Decorate a command with an option for each field that `option` made, or in `only`."""
    hints = get_type_hints(kind)
    described = [one for one in fields(kind) if "flag" in one.metadata]
    wanted = [one for one in described if not only or one.name in only]

    def decorate(command: F) -> F:
        for one in reversed(wanted):
            for declared, settings in reversed(list(_declarations(one, hints[one.name]))):
                group = one.metadata["flag"].group
                names = [*declared.split(), one.name]
                command = click.option(*names, cls=GroupedOption, group=group, **settings)(command)
        return command

    return decorate


def options_from(kind: type[T], values: dict[str, Any]) -> T:
    """Take a dataclass's fields out of click's values; without a value a field has its default."""
    own = [one for one in fields(kind) if one.name in values]  # type: ignore[arg-type]
    given = {one.name: values.pop(one.name) for one in own}
    defaults = {one.name for one in own if one.default is not MISSING}
    return kind(**{n: v for n, v in given.items() if v is not None or n not in defaults})


def _declarations(one: Field[Any], hint: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and settings of a field's options: itself, then a flag a value."""
    flag: Flag = one.metadata["flag"]
    default = one.default
    if flag.names or not flag.flags:
        settings: dict[str, Any] = {"help": flag.help, "metavar": flag.metavar}
        if flag.show_default is not None:
            settings["help"] = f"{flag.help}  [default: {flag.show_default}]".lstrip()
        if default is MISSING:
            settings["required"] = True
        else:
            is_shown = flag.show_default is None and not (default is None or default is False)
            settings |= {"default": default, "show_default": is_shown}
        yield flag.names or "--" + one.name.replace("_", "-"), settings | _typed(flag, hint)
    for name, value in flag.flags.items():
        value, text = value if isinstance(value, tuple) else (value, "")
        # Its own type, as click converts what another option of the same field was given again
        yield name, {"flag_value": value, "help": text, "hidden": not text, **_typed(flag, hint)}


def _typed(flag: Flag, hint: Any) -> dict[str, Any]:
    """Return click's settings for a field's type."""
    kind = plain_type(hint)
    if kind is bool:
        return {} if "/" in flag.names else {"is_flag": True}
    if get_origin(kind) is tuple:
        parts = get_args(kind)
        if parts[-1] is Ellipsis:
            return {"type": _single_type(flag, parts[0]), "multiple": True}
        return {"type": tuple(_single_type(flag, part) for part in parts)}
    return {"type": _single_type(flag, kind)}


def _single_type(flag: Flag, kind: Any) -> Any:
    if choices := flag.choices or choices_of(kind):
        return click.Choice(choices)
    least, is_open = (flag.least, False) if flag.above is None else (flag.above, True)
    if kind is int:
        low, high = (None if limit is None else int(limit) for limit in (least, flag.most))
        whole = BitrateRange if flag.metavar == "KBITS" else click.IntRange
        return whole(low, high, min_open=is_open)
    if kind is float:
        kind_of_range = TimeRange if flag.metavar == "TIME" else FiniteRange
        return kind_of_range(least, flag.most, min_open=is_open)
    return click.Path(path_type=Path) if kind is Path else str
