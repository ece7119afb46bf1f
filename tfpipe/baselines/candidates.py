"""Candidates of a comparison: networks, trees on columns, a frozen code, principal components.

A network's name may end in +pretrained or +random, and in +grey, as in the table of seed document
004: "resnet50", "resnet50+pretrained", "resnet9+grey". Each candidate is fitted on the training
groups of a fold, and predicts the other groups.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline

import tuning.boosted_trees
from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import clear_session, dtype_policy
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
COMPONENTS = 50  # maximum number of principal components
CENTRE_PX = 50  # seed document 003, section 2.1: images of 50 x 50
FOREST_TREES = 300
CODE_FILTERS = 8  # the code of seed document 003 is 25 x 25 x 8
PRETRAINED, RANDOM, GREY = "pretrained", "random", "grey"
IMAGENET, NONE = "imagenet", "none"  # values of a builder's argument `weights`
WORDS = (PRETRAINED, RANDOM, GREY)
ENDINGS = (".weights.h5", ".h5", ".keras")

# labels [n] int, -1 where there is none; probabilities [n, classes] float
Predictions = tuple[np.ndarray, np.ndarray]


class CandidateRun(NamedTuple):
    """What a candidate is fitted and evaluated on.

    Attributes:
      data: records, on whose `train` it is fitted.
      spec: what a model may know of that subset.
      evaluated: subsets to predict.
      arguments: the candidate's arguments, see `arguments`.
      config: how networks are trained.
      evaluate_files: a fitted network -> its scores in the whole files of each evaluated subset;
        None where no whole files are evaluated.
    """

    data: Dataset
    spec: Spec
    evaluated: tuple[Subset, ...]
    arguments: dict[str, Any]
    config: TrainingConfig
    evaluate_files: "Callable[[keras.Model], tuple[dict[str, float], ...]] | None" = None


class CandidateResult(NamedTuple):
    """What a fitted candidate predicts.

    Attributes:
      predictions: of each evaluated subset, in their order.
      megabytes: size of the fitted model.
      file_scores: of each evaluated subset, what was scored in whole files; () for nothing.
    """

    predictions: tuple[Predictions, ...]
    megabytes: float
    file_scores: tuple[dict[str, float], ...] = ()


class Variant(NamedTuple):
    """A network's name taken apart.

    Attributes:
      model: name of the model.
      start: "pretrained", "random", or "" for what the model's arguments say.
      grey: whether its images have no colours.
    """

    model: str
    start: str
    grey: bool


def names_of(task: Task) -> tuple[str, ...]:
    """Returns the names of all candidates of a task."""
    code = (FROZEN_CODE,) if "code-cnn" in task.models else ()
    return (TREES, PRINCIPAL, *code, *task.models)


def default_names(task: Task, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the default candidates: the task's, or one each for columns, images and both.

    Pretrained networks are compared only when they are named.
    """
    if task.baselines.candidates:
        return task.baselines.candidates
    untrained = [name for name in task.models if "weights" not in calls.arguments_of(name)]
    networks = [name for name in untrained if name not in AUTOENCODERS]
    on_images = [name for name in networks if "columns" not in name][:1]
    on_columns = [name for name in networks if "columns" in name]
    return (*((TREES,) if columns else ()), *(on_columns if columns else ()), *on_images)


def network_of(name: str) -> str | None:
    """Returns the model whose builder a candidate uses; None for trees and forests."""
    if name in (TREES, PRINCIPAL):
        return None
    return "code-cnn" if name == FROZEN_CODE else parse_name(name).model


def arguments(task: Task, name: str, *, quick: bool, fixed: dict[str, Any]) -> dict[str, Any]:
    """Returns a candidate's arguments: the published values, and the task's.

    The best values of searches are not used: these were chosen on some of the groups that are
    evaluated here.
    """
    if name == TREES:
        return tuning.boosted_trees.PUBLISHED
    if name == PRINCIPAL:
        return {"components": COMPONENTS, "side": CENTRE_PX, "trees": FOREST_TREES}
    if name == FROZEN_CODE:
        return {
            "autoencoder": arguments(task, "conv-autoencoder", quick=quick, fixed=fixed),
            "classifier": arguments(task, "code-cnn", quick=quick, fixed=fixed),
        }
    variant = parse_name(name)
    search = tuning.search_of(task.name, variant.model)
    quick_values = search.quick_space(search_plan.hyperparameters({})) if quick and search else {}
    accepted = calls.arguments_of(variant.model)
    values = task.model_arguments.get(variant.model, {}) | quick_values
    values |= {key: value for key, value in fixed.items() if key in accepted}
    return values | weights_argument(variant, accepted, weights=fixed.get("weights"))


def parse_name(name: str) -> Variant:
    """Returns the variant that a name such as "resnet50+pretrained+grey" stands for.

    Raises:
      UserError: a word after a + is none of `WORDS`, or two contradict each other.
    """
    model, *words = name.split("+")
    starts = [word for word in words if word in (PRETRAINED, RANDOM)]
    if set(words) - set(WORDS) or len(starts) > 1:
        raise UserError(
            f"{name!r} is no variant of a model. The name may end in +pretrained or +random, and "
            "in +grey."
        )
    return Variant(model, starts[0] if starts else "", GREY in words)


def weights_argument(
    variant: Variant, accepted: Sequence[str], *, weights: str | None
) -> dict[str, Any]:
    """Returns the argument `weights` of a variant; {} where its model has no such argument.

    Args:
      variant: the network.
      accepted: names of its builder's arguments.
      weights: the user's value: "imagenet", "none", a file, or a folder of files named after the
        models, such as resnet50.h5; None for ImageNet's.

    Raises:
      UserError: the model has no pretrained weights, or the folder has no file for it.
    """
    if "weights" not in accepted:
        if variant.start == PRETRAINED:
            raise UserError(f"There are no pretrained weights of {variant.model}, only random.")
        return {}
    if variant.start == RANDOM:
        return {"weights": NONE}
    if weights and Path(weights).is_dir():
        paths = [Path(weights) / f"{variant.model}{ending}" for ending in ENDINGS]
        for path in paths:
            if path.is_file():
                return {"weights": str(path)}
        raise UserError(f"{weights} has no {paths[0].name}, {paths[1].name} or {paths[2].name}.")
    if variant.start == PRETRAINED and weights == NONE:
        raise UserError(f"{variant.model}+pretrained and weights=none contradict each other.")
    return {"weights": weights or IMAGENET} if weights or variant.start else {}


def fit_and_predict(name: str, run: CandidateRun) -> CandidateResult:
    """Fits a candidate, and returns its predictions of the evaluated subsets."""
    functions = {TREES: _trees, FROZEN_CODE: _frozen_code, PRINCIPAL: _principal_components}
    function: Callable[[str, CandidateRun], CandidateResult] = functions.get(name, _network)
    with dtype_policy("auto"):
        return function(name, run)


def _network(name: str, run: CandidateRun) -> CandidateResult:
    model = _fit_network(parse_name(name).model, run)
    predictions = tuple(validation.predict(model, run.data, subset) for subset in run.evaluated)
    file_scores = run.evaluate_files(model) if run.evaluate_files else ()
    return CandidateResult(predictions, 4 * model.count_params() / 2**20, file_scores)


def _frozen_code(name: str, run: CandidateRun) -> CandidateResult:
    """Fits an autoencoder, then a classifier on its code, which stays fixed (seed document 003).

    The autoencoder is fitted on the same groups as the classifier, so that it never had those that
    are evaluated. It has half of the epochs: both together have as many as the other candidates.
    """
    config = run.config
    half = max(1, config.epochs // 2)
    rest = max(1, config.epochs - half)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "autoencoder.keras"
        first = run._replace(
            data=replace(run.data, objective="loss"),
            arguments={"filters": CODE_FILTERS} | run.arguments["autoencoder"] | {"latent": 0},
            config=replace(config, epochs=half),
        )
        autoencoder = _fit_network("conv-autoencoder", first)
        with files.writing_to(Path(folder).parent, option="TMPDIR"):
            autoencoder.save(path)
        code = {"encoder": str(path), "code_filters": first.arguments["filters"]}
        second = run._replace(
            arguments=run.arguments["classifier"] | code, config=replace(config, epochs=rest)
        )
        return _network("code-cnn", second)


def _fit_network(name: str, run: CandidateRun) -> keras.Model:
    clear_session()
    keras.utils.set_random_seed(run.config.seed)
    model = build(name, run.spec, run.arguments)
    training_compile.prepare(model, run.data, settings=run.config)
    loop.fit(model, run.data, settings=run.config)
    return model


def _trees(name: str, run: CandidateRun) -> CandidateResult:
    data = run.data
    trees = boosted_trees.fit(
        _columns(data, data.train).labelled,
        classes=len(run.spec.classes),
        arguments=run.arguments,
        seed=run.config.seed,
    )
    size = len(trees.save_raw("ubj"))
    examples = [_columns(data, subset) for subset in run.evaluated]
    predictions = tuple(
        (subset.labels, boosted_trees.classify(trees, subset.columns)) for subset in examples
    )
    return CandidateResult(predictions, size / 2**20)


def _columns(data: Dataset, subset: Subset) -> data_columns.ColumnExamples:
    examples = data_columns.read(data.folder, subset.splits, manifest=data.manifest)
    return examples if subset.chosen is None else examples.select(subset.chosen)


def _principal_components(name: str, run: CandidateRun) -> CandidateResult:
    """Fits a forest on principal components of 50 x 50 pixels (seed document 003, section 2.1)."""
    data, seed = run.data, run.config.seed
    side, n_trees = run.arguments["side"], run.arguments["trees"]
    labels, pixels = _centres(data, data.train, side=side)
    is_labelled = labels >= 0
    n_components = min(run.arguments["components"], is_labelled.sum(), pixels.shape[1])
    forest = RandomForestClassifier(n_trees, class_weight="balanced", random_state=seed, n_jobs=-1)
    components = PCA(n_components, random_state=seed)
    model = make_pipeline(components, forest)
    model.fit(pixels[is_labelled], labels[is_labelled])
    predictions = []
    for subset in run.evaluated:
        labels, pixels = _centres(data, subset, side=side)
        probabilities = np.zeros((len(labels), len(run.spec.classes)))
        probabilities[:, forest.classes_] = model.predict_proba(pixels)
        predictions.append((labels, probabilities))
    n_nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    # A node holds a feature, a threshold, two children and the classes' shares.
    size = 8 * (components.components_.size + n_nodes * (4 + len(forest.classes_)))
    return CandidateResult(tuple(predictions), size / 2**20)


def _centres(data: Dataset, subset: Subset, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels [n] and pixels [n, ...] float32 of a square in the centre of each image."""
    labels, pixels = [], []
    for features, label in dataset.batches(
        data.folder, subset, manifest=data.manifest, batch_size=256
    ):
        image = features["image"].numpy()
        top, left = (max(0, (length - side) // 2) for length in image.shape[1:3])
        centre = image[:, top : top + side, left : left + side]
        pixels.append(centre.reshape(len(image), -1).astype(np.float32))
        labels.append(label.numpy())
    return np.concatenate(labels), np.concatenate(pixels)
