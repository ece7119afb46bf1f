"""KerasTuner's internals: only one module touches them."""

import ast
from pathlib import Path

import keras_tuner
import pytest
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.oracles import BayesianOptimizationOracle, HyperbandOracle, RandomSearchOracle

import tfpipe
import tuning

ALLOWED = "keras_tuner_internals.py"
CLASSES = (
    BaseTuner,
    BayesianOptimizationOracle,
    HyperbandOracle,
    RandomSearchOracle,
    keras_tuner.HyperParameters,
    keras_tuner.Tuner,
)
OBJECTS = (
    keras_tuner.HyperParameters(),
    BayesianOptimizationOracle(objective=keras_tuner.Objective("loss", "min")),
    HyperbandOracle(objective=keras_tuner.Objective("loss", "min")),
)
PRIVATE = {
    name
    for source in (*CLASSES, *(vars(thing) for thing in OBJECTS))
    for name in (source if isinstance(source, dict) else dir(source))
    if name.startswith("_") and not name.startswith("__")
}
PATHS = sorted(
    path
    for package in (tfpipe, tuning)
    for path in Path(package.__file__).parent.rglob("*.py")
    if "keras_tuner" in path.read_text() or path.parent.name in ("search", "tuning")
)


def internals_of(text: str) -> set[str]:
    """Returns the modules of `keras_tuner.src` and the private names of KerasTuner in a source."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules = {alias.name for alias in node.names}
            names |= {name for name in modules if name.startswith("keras_tuner.src")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_tuner"):
            if node.module.startswith("keras_tuner.src"):
                names.add(node.module)
            names |= {alias.name for alias in node.names if alias.name == "src"}
        elif isinstance(node, ast.Attribute) and node.attr in PRIVATE:
            names.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            methods = {method.name for method in node.body if isinstance(method, ast.FunctionDef)}
            names |= methods & PRIVATE
    return names


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_other_module_touches_keras_tuners_internals(path):
    assert path.name == ALLOWED or internals_of(path.read_text()) == set()


def test_internals_are_noticed():
    text = """
import keras_tuner.src.engine
from keras_tuner import src
from keras_tuner.src.engine import oracle
class Mine(keras_tuner.Oracle):
    def _save_trial(self, trial):
        self._retry_queue.append(oracle)
"""
    assert internals_of(text) == {
        "keras_tuner.src.engine",
        "src",
        "_save_trial",
        "_retry_queue",
    }
    (path,) = [path for path in PATHS if path.name == ALLOWED]
    assert {"_random_values", "_record_values", "_brackets"} <= internals_of(path.read_text())
