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

import tuning.boosted_trees
from tfpipe.base.hardware import dtype_policy
from tfpipe.baselines import variants
from tfpipe.data import columns as data_columns
from tfpipe.data import dataset
from tfpipe.data.dataset import Dataset, Subset
from tfpipe.models import AUTOENCODERS, boosted_trees, build, calls
from tfpipe.models.spec import Spec
from tfpipe.search import plan as search_plan
from tfpipe.tasks.task import Task
from tfpipe.training import compile as training_compile
from tfpipe.training import loop, validation
from tfpipe.training.config import TrainingConfig

TREES = "xgboost"
FROZEN_CODE = "frozen-code-cnn"
PRINCIPAL = "pca-forest"
COMPONENTS = 50  # principal ones, at most
MIDDLE_PX = 50  # seed 003, section 2.1: pictures of 50 x 50
FOREST = 300  # trees
CODE_FILTERS = 8  # seed 003's code of 25 x 25 x 8


Said = tuple[np.ndarray, np.ndarray]  # labels [n] int, -1 where none is; likely [n, classes] float


class Contest(NamedTuple):
    """What every contestant is given.

    Attributes:
      data: records, whose `train` is learnt from.
      spec: what a model may know of that part.
      asked: parts that it is to answer for.
      arguments: of the contestant, see `arguments`.
      settings: how networks are trained.
    """

    data: Dataset
    spec: Spec
    asked: tuple[Subset, ...]
    arguments: dict[str, Any]
    settings: TrainingConfig


class Judged(NamedTuple):
    """What a contestant said.

    Attributes:
      said: of each part that it was asked of, in their order.
      megabytes: of what it learnt.
    """

    said: tuple[Said, ...]
    megabytes: float


def known(task: Task) -> tuple[str, ...]:
    """Returns the names of all contestants of a task."""
    code = (FROZEN_CODE,) if "code-cnn" in task.models else ()
    return (TREES, PRINCIPAL, *code, *task.models)


def usual(task: Task, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns those that are compared by default: the task's, or of columns, pictures and both.

    Bodies that begin with given weights are compared when they are asked for.
    """
    if task.baselines.candidates:
        return task.baselines.candidates
    own = [name for name in task.models if "weights" not in calls.arguments_of(name)]
    networks = [name for name in own if name not in AUTOENCODERS]
    pictures = [name for name in networks if "columns" not in name][:1]
    with_columns = [name for name in networks if "columns" in name]
    return (*((TREES,) if columns else ()), *(with_columns if columns else ()), *pictures)


def network_of(name: str) -> str | None:
    """Returns the model whose builder a contestant uses; None for trees and forests."""
    if name in (TREES, PRINCIPAL):
        return None
    return "code-cnn" if name == FROZEN_CODE else variants.of(name).model


def arguments(task: Task, name: str, *, quick: bool, fixed: dict[str, Any]) -> dict[str, Any]:
    """Returns what a contestant is made with: the published values, and the task's.

    What searches found is not used: they looked at some of the groups that judge here.
    """
    if name == TREES:
        return tuning.boosted_trees.PUBLISHED
    if name == PRINCIPAL:
        return {"components": COMPONENTS, "side": MIDDLE_PX, "trees": FOREST}
    if name == FROZEN_CODE:
        return {
            "autoencoder": arguments(task, "conv-autoencoder", quick=quick, fixed=fixed),
            "classifier": arguments(task, "code-cnn", quick=quick, fixed=fixed),
        }
    variant = variants.of(name)
    found = tuning.search_of(task.name, variant.model)
    quickly = found.quick_space(search_plan.hyperparameters({})) if quick and found else {}
    taken = calls.arguments_of(variant.model)
    own = task.model_arguments.get(variant.model, {}) | quickly
    own |= {key: value for key, value in fixed.items() if key in taken}
    return own | variants.weights_of(variant, taken, given=fixed.get("weights"))


def judge(name: str, contest: Contest) -> Judged:
    """Trains a contestant, and returns what it says of the parts that are asked of it."""
    own = {TREES: _trees, FROZEN_CODE: _frozen_code, PRINCIPAL: _principal}
    judging: Callable[[str, Contest], Judged] = own.get(name, _network)
    with dtype_policy("auto"):
        return judging(name, contest)


def _network(name: str, contest: Contest) -> Judged:
    model = _trained(variants.of(name).model, contest)
    said = tuple(validation.predicted(model, contest.data, part) for part in contest.asked)
    return Judged(said, 4 * model.count_params() / 2**20)


def _frozen_code(name: str, contest: Contest) -> Judged:
    """Seed 003: an autoencoder first, then a classifier on its code, which stays as it is.

    The autoencoder learns from the same groups as the classifier, and so never saw those that
    judge; it has half of the epochs, so that both together have as many as the others.
    """
    own, settings = contest.arguments, contest.settings
    half = max(1, settings.epochs // 2)
    rest = max(1, settings.epochs - half)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "autoencoder.keras"
        first = contest._replace(
            data=replace(contest.data, objective="loss"),
            arguments={"filters": CODE_FILTERS} | own["autoencoder"] | {"latent": 0},
            settings=replace(settings, epochs=half),
        )
        _trained("conv-autoencoder", first).save(path)
        code = {"encoder": str(path), "code_filters": first.arguments["filters"]}
        second = contest._replace(
            arguments=own["classifier"] | code, settings=replace(settings, epochs=rest)
        )
        return _network("code-cnn", second)


def _trained(name: str, contest: Contest) -> keras.Model:
    keras.backend.clear_session()
    keras.utils.set_random_seed(contest.settings.seed)
    model = build(name, contest.spec, contest.arguments)
    training_compile.prepare(model, contest.data, settings=contest.settings)
    loop.fit(model, contest.data, settings=contest.settings)
    return model


def _trees(name: str, contest: Contest) -> Judged:
    data = contest.data
    trees = boosted_trees.fit(
        _measured(data, data.train).labelled,
        classes=len(contest.spec.classes),
        arguments=contest.arguments,
        seed=contest.settings.seed,
    )
    size = len(trees.save_raw("ubj"))
    asked = [_measured(data, part) for part in contest.asked]
    said = tuple((one.labels, boosted_trees.classify(trees, one.columns)) for one in asked)
    return Judged(said, size / 2**20)


def _measured(data: Dataset, part: Subset) -> data_columns.Measured:
    every = data_columns.read(data.folder, part.splits, manifest=data.manifest)
    return every if part.chosen is None else every.only(part.chosen)


def _principal(name: str, contest: Contest) -> Judged:
    """Seed 003, section 2.1: principal components of 50 x 50 pixels, and a shallow classifier."""
    data, arguments, seed = contest.data, contest.arguments, contest.settings.seed
    labels, pixels = _middles(data, data.train, side=arguments["side"])
    learnt = labels >= 0
    components = min(arguments["components"], learnt.sum(), pixels.shape[1])
    forest = RandomForestClassifier(
        arguments["trees"], class_weight="balanced", random_state=seed, n_jobs=-1
    )
    model = make_pipeline(PCA(components, random_state=seed), forest)
    model.fit(pixels[learnt], labels[learnt])
    said = []
    for part in contest.asked:
        known, pixels = _middles(data, part, side=arguments["side"])
        likely = np.zeros((len(known), len(contest.spec.classes)))
        likely[:, forest.classes_] = model.predict_proba(pixels)
        said.append((known, likely))
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    # A node holds a feature, a threshold, two children and the classes' shares.
    size = 8 * (model[0].components_.size + nodes * (4 + len(forest.classes_)))
    return Judged(tuple(said), size / 2**20)


def _middles(data: Dataset, part: Subset, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and the pixels [n, ...] float32 of a square in each picture's middle."""
    labels, pixels = [], []
    for features, label in dataset.batches(
        data.folder, part, manifest=data.manifest, batch_size=256
    ):
        image = features["image"].numpy()
        top, left = (max(0, (length - side) // 2) for length in image.shape[1:3])
        middle = image[:, top : top + side, left : left + side]
        pixels.append(middle.reshape(len(image), -1).astype(np.float32))
        labels.append(label.numpy())
    return np.concatenate(labels), np.concatenate(pixels)
