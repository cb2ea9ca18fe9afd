"""The house: which room may import which, how large it is, and how light the command starts."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "htmdsep"
HEAVY = ("torch", "librosa", "PIL", "numpy", "soundfile", "av", "h5py", "scipy", "matplotlib")
EXTRAS = ("onnx", "onnxruntime", "openvino", "ray", "fsspec", "s3fs", "moto")

GROUND = {"errors", "options", "files"}  # what every room may import, beside the package itself
# Rooms, folders or files at the top, and the other rooms that each may import; late imports, and
# those for types alone, count.
ARROWS: dict[str, set[str]] = {
    "__init__": {"separation", "batch"},
    "__main__": {"cli"},
    "errors": set(),
    "options": set(),
    "files": set(),
    "console": set(),
    "dsp": set(),
    "networks": set(),
    "metrics": {"dsp"},
    "audio": {"dsp"},
    "weights": {"networks"},
    "datasets": {"audio", "dsp"},
    "engines": {"weights", "networks", "dsp"},
    "separation": {"engines", "weights", "networks", "audio", "dsp"},
    "batch": {"separation", "weights", "audio", "dsp"},
    "onnx": {"weights", "networks", "console"},
    "bench": {"separation", "engines", "weights", "networks", "audio", "dsp", "console"},
    "evaluation": {
        *{"separation", "engines", "datasets", "metrics", "weights", "networks", "dsp", "console"}
    },
    "training": {
        *{"separation", "engines", "datasets", "metrics", "weights", "networks", "dsp", "console"}
    },
    "page": {"batch", "audio", "dsp"},
    "cli": {"batch", "separation", "weights", "console", "page"},
}

MOST_LINES = 17_968  # of the whole package; more is a decision
MOST_FUNCTION_LINES = 45
MOST_POSITIONAL = 6
SHARED_NAMES = {"main", "command"}  # every program has its own


@cache
def modules() -> list[tuple[str, Path, ast.Module]]:
    """Return every module of the package by its name below it, its path and its tree."""
    return [
        (
            ".".join(path.relative_to(PACKAGE).with_suffix("").parts),
            path,
            ast.parse(path.read_text(encoding="utf-8")),
        )
        for path in sorted(PACKAGE.rglob("*.py"))
    ]


def imported(tree: ast.AST) -> set[str]:
    """Return the names of all modules that a tree imports, and of what it imports from them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_modules(tree: ast.AST) -> set[str]:
    """Return the package's modules that a tree imports, by their names below it."""
    known = {name.removesuffix(".__init__") for name, _, _ in modules()}
    found = {name.removeprefix("htmdsep.") for name in imported(tree) if "htmdsep." in name}
    return found & known


def test_imports_go_one_way() -> None:
    wrong = []
    for name, _, tree in modules():
        room = name.split(".")[0]
        for other in own_modules(tree):
            reached = other.split(".")[0]
            if reached not in {room, *GROUND, *ARROWS[room]}:
                wrong.append(f"{name} -> {other}")
    assert not wrong


def test_every_room_is_named() -> None:
    assert {name.split(".")[0] for name, _, _ in modules()} == set(ARROWS)


def test_within_a_room_no_imports_run_in_a_circle() -> None:
    within: dict[str, set[str]] = defaultdict(set)
    for name, _, tree in modules():
        room = name.split(".")[0]
        # A package's own __init__ is a docstring, or offers what is below it when it is asked for
        if not name.endswith("__init__"):
            within[name] = {other for other in own_modules(tree) if other.split(".")[0] == room}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in within[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in list(within):
        visit(name, ())


def test_the_house_has_a_size() -> None:
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for _, path, _ in modules())
    assert lines <= MOST_LINES


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for name, _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield f"{name}.{node.name}", node


def test_functions_are_short_and_take_few_arguments() -> None:
    for name, node in functions():
        assert node.end_lineno is not None
        assert node.end_lineno - node.lineno < MOST_FUNCTION_LINES, name
        positional = [one for one in node.args.posonlyargs + node.args.args if one.arg != "self"]
        assert len(positional) <= MOST_POSITIONAL, name


def test_no_two_public_names_are_the_same() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for name, _, tree in modules():
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                places[node.name].append(name)
    double = {name: where for name, where in places.items() if len(where) > 1}
    assert not {name: where for name, where in double.items() if name not in SHARED_NAMES}


@pytest.mark.parametrize(
    "statement",
    [
        "import htmdsep.cli.command",
        "from htmdsep.cli.models import _rows; assert list(_rows())",
        "import htmdsep",
        "import htmdsep.bench.cli",
        "import htmdsep.evaluation.cli",
        "import htmdsep.onnx",
    ],
)
def test_the_command_line_is_light(statement: str) -> None:
    script = f"import sys; {statement}; print(*(m for m in {HEAVY + EXTRAS!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_metrics_know_no_files_and_networks_no_arrays() -> None:
    kept_out = {
        "metrics": {"pathlib", "click", "pandas"},
        "networks": {"numpy", "soundfile", "pathlib", "click"},
    }
    for name, _, tree in modules():
        assert not kept_out.get(name.split(".")[0], set()) & imported(tree), name


def test_what_training_measures_with_needs_no_extra() -> None:
    """Nor PyTorch at module level: the ratios of tensors are the tensors' own arithmetic."""
    names = ", ".join(f"htmdsep.metrics.{name}" for name in ("ratios", "silence", "oracles"))
    script = f"import sys, {names}; print(*{{'torch', 'scipy', 'webrtcvad'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_who_separates_arrays_waits_for_nothing_that_reads_files() -> None:
    script = (
        "import sys, htmdsep.separation.separator; print(*{'av', 'soundfile'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_only_programs_know_of_click() -> None:
    programs = {"cli", "console", "onnx", "bench", "evaluation", "training"}
    for name, _, tree in modules():
        assert name.split(".")[0] in programs or "click" not in imported(tree), name
