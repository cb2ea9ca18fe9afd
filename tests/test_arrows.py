"""Imports go one way: cli -> separator -> parts -> model, and training stands on these."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "htmdsep"
HEAVY = ("torch", "librosa", "numpy", "soundfile", "av", "h5py", "scipy", "matplotlib")
EXTRAS = ("onnx", "onnxruntime", "openvino", "ray", "fsspec", "s3fs", "moto")
ON_TOP = ("htmdsep.training", "htmdsep.evaluation", "htmdsep.bench", "htmdsep.onnx")


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def starts_with(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize(
    "statement",
    [
        "import htmdsep.cli",
        "from htmdsep.listing import _rows; assert list(_rows())",
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


def test_separation_knows_nothing_of_training_and_evaluation() -> None:
    for path in PACKAGE.rglob("*.py"):
        if not starts_with(".".join(path.relative_to(PACKAGE.parent).parts[:2]), ON_TOP):
            assert not [name for name in imported(path) if starts_with(name, ON_TOP)], path


def test_training_knows_nothing_of_evaluation() -> None:
    for path in (PACKAGE / "training").rglob("*.py"):
        assert not [n for n in imported(path) if starts_with(n, ("htmdsep.evaluation",))], path


def test_metrics_know_nothing_of_networks_and_files() -> None:
    allowed = (
        "htmdsep.metrics",
        "htmdsep.errors",
        "htmdsep.resample",
        "htmdsep.spectra",
        "htmdsep.thresholds",
    )
    for path in (PACKAGE / "metrics").glob("*.py"):
        outside = {name for name in imported(path) if starts_with(name, ("htmdsep",))}
        assert all(starts_with(name, allowed) for name in outside), path
        assert not {"pathlib", "click", "pandas"} & imported(path), path


def test_what_training_measures_with_needs_no_extra() -> None:
    """Nor PyTorch at module level: the ratios of tensors are the tensors' own arithmetic."""
    names = ", ".join(f"htmdsep.metrics.{name}" for name in ("ratios", "silence", "oracles"))
    script = f"import sys, {names}; print(*{{'torch', 'scipy', 'webrtcvad'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_the_model_knows_nothing_of_files_and_arrays() -> None:
    allowed = ("htmdsep.model", "htmdsep.config", "htmdsep.errors")
    for path in (PACKAGE / "model").glob("*.py"):
        outside = {name for name in imported(path) if starts_with(name, ("htmdsep",))}
        assert all(starts_with(name, allowed) for name in outside), path
        assert not {"numpy", "soundfile", "pathlib", "click"} & imported(path), path


def test_only_the_command_line_imports_click() -> None:
    allowed = {
        "actions.py",
        "cli.py",
        "settings.py",
        "session.py",
        "listing.py",
        "selftest.py",
        "console.py",
        "onnx.py",
        "telling.py",
    }
    for path in PACKAGE.glob("*.py"):
        assert path.name in allowed or "click" not in imported(path), path
