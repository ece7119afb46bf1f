"""Imports point one way."""

import ast
import functools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each may import those before it. A package is one module: its files may import each other.
ORDER = (
    *("errors", "starting", "fresh"),
    *("files", "rows", "tables", "table_files", "pictures", "visible", "progress"),
    *(
        "labels",
        "spans",
        "task",
        "splits",
        "options",
        "python_file",
        "tasks",
        "samples",
        "state",
        "decided",
        "leaks",
        "fingerprints",
        "units",
        "shards",
        "manifests",
        "checks",
    ),
    *("records", "balance", "augmentation", "parsing", "inputs", "models", "precision", "scores"),
    *("processes", "doctor", "resampling", "stability", "drift", "differences", "comparison"),
    *("quantities", "calibration", "abstention", "prevalence", "schedules", "settings"),
    *("compiling", "scoring"),
    *("checkpoints", "training", "logs", "tuning", "folds", "jobs", "search", "oracle_state"),
    *("oracles", "trials", "wire", "chief", "crew", "workers", "searching", "searches"),
    *("importance", "parity", "imported"),
    *("export", "warmup", "saved", "answering", "reconstructions", "naive"),
    *("scanning", "ways", "resuming", "judging"),
    *("predict", "descriptions", "evaluation", "facts", "measured", "texture", "feature_tables"),
    *("described", "leaderboard", "boosting", "boosting_search", "page", "plots"),
    *("comparison_plot", "confidence_plots", "shap_plots", "parallel", "scripted", "search_page"),
    *("grad_cam", "sections", "gallery", "grad_cam_sections", "confidence_sections"),
    *("value_sections", "way_sections", "classifier_sections", "autoencoder_sections"),
    *("shallow_sections", "report", "shallow_versions", "before", "beginnings"),
    *("card_facts", "model_card", "lineage", "runs", "pipeline"),
    *("appearance", "nuisance", "novelty", "candidates"),
    *("directions", "maps", "parametric_map", "observations", "subjects", "blindness"),
    *("leave_out", "findings", "map_plots"),
    *("explore_map", "explore_page", "explore_files", "explore"),
    *(
        "contact_sheets",
        "exchange",
        "certainty",
        "answerers",
        "picture_answers",
        "shallow",
        "retraining",
        "variants",
        "contestants",
        "comparison_summary",
        "comparing",
    ),
    *("review", "serving", "client", "cli", "__main__"),
)
# What `tfpipe tasks`, `sample` and `search` need.
LIGHT = ("task", "options", "tasks", "samples", "state", "progress", "search")
STARTS = {"starting", "fresh"}  # import TensorFlow when they are told to
HEAVY = {"tensorflow", "tensorflow_datasets", "keras", "keras_tuner", "tensorboard"}
FILES = sorted([*ROOT.glob("tfpipe/**/*.py"), *ROOT.glob("tuning/**/*.py")])


def module_of(path: Path) -> str:
    """Returns the name in ORDER of a file: of tfpipe/models/parts.py "models"."""
    package, *inner = path.relative_to(ROOT).with_suffix("").parts
    return inner[0] if package == "tfpipe" else package


def imported(tree: ast.AST, *, path: Path) -> set[str]:
    """Returns the dotted names that a file imports, wherever in it and however deep."""
    package = path.relative_to(ROOT).parent.parts
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def ours(names: set[str]) -> set[str]:
    """Returns the names in ORDER, or unknown to it, among dotted names; without tfpipe itself."""
    parts = [name.split(".") for name in names]
    inner = {part[1] for part in parts if part[0] == "tfpipe" and len(part) > 1}
    return (inner - {"__version__"}) | ({"tuning"} & {part[0] for part in parts})


def misplaced(source: str, *, path: Path) -> list[str]:
    """Returns a sentence for each import of a file that points the wrong way."""
    module = module_of(path)
    before = set() if module == "__init__" else {*ORDER[: ORDER.index(module) + 1]}
    if module == "tuning":
        before = {"tuning"}
    wrong = ours(imported(ast.parse(source), path=path)) - before
    return [f"{path.relative_to(ROOT)} imports {name}" for name in sorted(wrong)]


@functools.cache
def light_and_what_it_imports() -> set[str]:
    """Returns the light modules and all of ours that they import, directly or not."""
    todo, done = {*LIGHT}, set()
    while todo:
        done |= todo
        todo = {
            name
            for path in FILES
            if module_of(path) in todo
            for name in ours(imported(ast.parse(path.read_text()), path=path))
        } - done
    return done


def test_every_module_has_its_place():
    unknown = {module_of(path) for path in FILES} - {*ORDER, "__init__"}
    assert not unknown, f"Give {', '.join(sorted(unknown))} a place in ORDER."


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    if module_of(path) in (*ORDER, "__init__"):
        assert misplaced(path.read_text(), path=path) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_must_be_quick_or_a_leaf_imports_nothing_heavy(path):
    if module_of(path) not in light_and_what_it_imports() | {"tuning", "__init__"}:
        return
    names = imported(ast.parse(path.read_text()), path=path)
    assert {name.split(".")[0] for name in names} & HEAVY == set()


@pytest.mark.parametrize(
    "path", [path for path in FILES if module_of(path) == "cli"], ids=lambda path: path.name
)
def test_the_command_line_starts_without_anything_heavy(path):
    at_once = [node for node in ast.parse(path.read_text()).body if "Import" in type(node).__name__]
    names = imported(ast.Module(at_once, []), path=path)
    assert {name.split(".")[0] for name in names} & HEAVY == set()
    assert ours(names) <= light_and_what_it_imports() | STARTS | {"cli"}


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("tfpipe/files.py", "import tfpipe.records"),
        ("tfpipe/files.py", "from tfpipe.records import pack"),
        ("tfpipe/files.py", "from tfpipe import records"),
        ("tfpipe/files.py", "from . import records"),
        ("tfpipe/files.py", "from .records import pack"),
        ("tfpipe/files.py", "def one():\n    from tfpipe import nowhere"),
        ("tfpipe/models/parts.py", "from ..training import fit"),
        ("tfpipe/models/parts.py", "import tuning"),
        ("tfpipe/__init__.py", "from tfpipe.errors import UserError"),
        ("tuning/melt_layer.py", "from tfpipe.errors import UserError"),
    ],
)
def test_a_wrong_import_is_seen(file, source):
    assert len(misplaced(source, path=ROOT / file)) == 1
