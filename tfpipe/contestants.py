"""What models are compared: networks, trees on columns, a frozen code, principal components.

Each contestant is a function of a fold: it learns from the fold's training groups, and answers for
the others.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

import tuning.columns
from tfpipe import boosting, compiling, inputs, jobs, measured, scoring, training
from tfpipe.inputs import Part
from tfpipe.models import AUTOENCODERS, build
from tfpipe.models.parts import Spec
from tfpipe.precision import compute_policy
from tfpipe.settings import Data, Settings
from tfpipe.task import Task

TREES = "xgboost"
FROZEN_CODE = "frozen-code-cnn"
PRINCIPAL = "pca-forest"
COMPONENTS = 50  # principal ones, at most
MIDDLE_PX = 50  # seed 003, section 2.1: pictures of 50 x 50
FOREST = 300  # trees
CODE_FILTERS = 8  # seed 003's code of 25 x 25 x 8


class Judged(NamedTuple):
    """What a contestant said.

    Attributes:
      labels: [n] int, -1 where there is none.
      likely: [n, classes] float.
      megabytes: of what it learnt.
    """

    labels: np.ndarray
    likely: np.ndarray
    megabytes: float


def known(task: Task) -> tuple[str, ...]:
    """Returns the names of all contestants of a task."""
    code = (FROZEN_CODE,) if "code-cnn" in task.models else ()
    return (TREES, PRINCIPAL, *code, *task.models)


def usual(task: Task, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns those that are compared by default: the task's, or of columns, pictures and both.

    Bodies that begin with given weights are compared when they are asked for.
    """
    if task.compared:
        return task.compared
    own = [name for name in task.models if "weights" not in jobs.arguments_of(name)]
    networks = [name for name in own if name not in AUTOENCODERS]
    pictures = [name for name in networks if "columns" not in name][:1]
    with_columns = [name for name in networks if "columns" in name]
    return (*((TREES,) if columns else ()), *(with_columns if columns else ()), *pictures)


def network_of(name: str) -> str | None:
    """Returns the model whose builder a contestant uses; None for trees and forests."""
    return None if name in (TREES, PRINCIPAL) else "code-cnn" if name == FROZEN_CODE else name


def arguments(task: Task, name: str, *, quick: bool, fixed: dict[str, Any]) -> dict[str, Any]:
    """Returns what a contestant is made with: the published values, and the task's.

    What searches found is not used: they looked at some of the groups that judge here.
    """
    if name == TREES:
        return tuning.columns.PUBLISHED
    if name == PRINCIPAL:
        return {"components": COMPONENTS, "side": MIDDLE_PX, "trees": FOREST}
    if name == FROZEN_CODE:
        return {
            "autoencoder": arguments(task, "conv-autoencoder", quick=quick, fixed=fixed),
            "classifier": arguments(task, "code-cnn", quick=quick, fixed=fixed),
        }
    found = tuning.search_of(task.name, name)
    quickly = found.quick_space(jobs.hyperparameters({})) if quick and found else {}
    taken = jobs.arguments_of(name)
    own = task.arguments.get(name, {}) | quickly
    return own | {key: value for key, value in fixed.items() if key in taken}


def judge(name: str, data: Data, spec: Spec, *, arguments: dict, settings: Settings) -> Judged:
    """Trains a contestant on a fold's groups, and returns what it says of the others."""
    own = {TREES: _trees, FROZEN_CODE: _frozen_code, PRINCIPAL: _principal}
    judging: Callable[..., Judged] = own.get(name, _network)
    return judging(name, data, spec, arguments=arguments, settings=settings)


def _network(name: str, data: Data, spec: Spec, *, arguments: dict, settings: Settings) -> Judged:
    model = _trained(name, data, spec, arguments=arguments, settings=settings)
    labels, likely = scoring.predicted(model, data, data.validation)
    return Judged(labels, likely, 4 * model.count_params() / 2**20)


def _frozen_code(
    name: str, data: Data, spec: Spec, *, arguments: dict, settings: Settings
) -> Judged:
    """Seed 003: an autoencoder first, then a classifier on its code, which stays as it is.

    The autoencoder learns from the same groups as the classifier, and so never saw those that
    judge; it has half of the epochs, so that both together have as many as the others.
    """
    half = max(1, settings.epochs // 2)
    rest = max(1, settings.epochs - half)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "autoencoder.keras"
        first = {"filters": CODE_FILTERS} | arguments["autoencoder"] | {"latent": 0}
        _trained(
            "conv-autoencoder",
            replace(data, objective="loss"),
            spec,
            arguments=first,
            settings=replace(settings, epochs=half),
        ).save(path)
        return _network(
            "code-cnn",
            data,
            spec,
            arguments=arguments["classifier"]
            | {"encoder": str(path), "code_filters": first["filters"]},
            settings=replace(settings, epochs=rest),
        )


def _trained(name: str, data: Data, spec: Spec, *, arguments: dict, settings: Settings):
    keras.backend.clear_session()
    keras.config.set_dtype_policy(compute_policy("auto"))
    keras.utils.set_random_seed(settings.seed)
    model = build(name, spec, arguments)
    compiling.prepare(model, data, settings=settings)
    training.fit(model, data, settings=settings)
    return model


def _trees(name: str, data: Data, spec: Spec, *, arguments: dict, settings: Settings) -> Judged:
    every = measured.read(data.folder, data.train.splits, manifest=data.manifest)
    asked = every.only(data.validation.chosen)
    trees = boosting.fit(
        every.only(data.train.chosen).labelled,
        classes=len(spec.classes),
        arguments=arguments,
        seed=settings.seed,
    )
    size = len(trees.save_raw("ubj"))
    return Judged(asked.labels, boosting.classify(trees, asked.columns), size / 2**20)


def _principal(name: str, data: Data, spec: Spec, *, arguments: dict, settings: Settings) -> Judged:
    """Seed 003, section 2.1: principal components of 50 x 50 pixels, and a shallow classifier."""
    labels, pixels = _middles(data, data.train, side=arguments["side"])
    learnt = labels >= 0
    components = min(arguments["components"], learnt.sum(), pixels.shape[1])
    forest = RandomForestClassifier(
        arguments["trees"], class_weight="balanced", random_state=settings.seed, n_jobs=-1
    )
    model = make_pipeline(PCA(components, random_state=settings.seed), forest)
    model.fit(pixels[learnt], labels[learnt])
    asked, pixels = _middles(data, data.validation, side=arguments["side"])
    likely = np.zeros((len(asked), len(spec.classes)))
    likely[:, forest.classes_] = model.predict_proba(pixels)
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    # A node holds a feature, a threshold, two children and the classes' shares.
    size = 8 * (model[0].components_.size + nodes * (4 + len(forest.classes_)))
    return Judged(asked, likely, size / 2**20)


def _middles(data: Data, part: Part, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and the pixels [n, ...] float32 of a square in each picture's middle."""
    labels, pixels = [], []
    for features, label in inputs.batches(
        data.folder, part, manifest=data.manifest, batch_size=256
    ):
        image = features["image"].numpy()
        top, left = (max(0, (length - side) // 2) for length in image.shape[1:3])
        middle = image[:, top : top + side, left : left + side]
        pixels.append(middle.reshape(len(image), -1).astype(np.float32))
        labels.append(label.numpy())
    return np.concatenate(labels), np.concatenate(pixels)
