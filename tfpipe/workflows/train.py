"""Training workflow: from packed records to a published version."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras

import tuning
from tfpipe.base.errors import UserError
from tfpipe.base.hardware import dtype_policy
from tfpipe.base.progress import Reporter, silent
from tfpipe.base.resumable import ResumableFolder
from tfpipe.baselines import train_trees as trees_training
from tfpipe.baselines.config import TreeSearchConfig
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import evaluate
from tfpipe.evaluation.evaluate import Evaluation
from tfpipe.models import build, calls
from tfpipe.models.calls import reconstructs
from tfpipe.models.spec import Spec
from tfpipe.registry import (
    card_statistics,
    model_card,
    novelty_file,
    previous_version,
    store,
    warm_start,
)
from tfpipe.registry.card import VersionCard
from tfpipe.registry.export import NetworkExport, in_float32
from tfpipe.report import write
from tfpipe.search import plan as search_plan
from tfpipe.search import results as search_results
from tfpipe.search import run as search_run
from tfpipe.search import time_budget
from tfpipe.search.config import SearchConfig
from tfpipe.search.run import WorkerConfig
from tfpipe.tasks import catalog
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import Task
from tfpipe.training import compile as training_compile
from tfpipe.training import loggers, loop, open_records, random_split, symmetries
from tfpipe.training.config import TrainingConfig
from tfpipe.workflows import run_config, tracking
from tfpipe.workflows.run_config import RunConfig
from tfpipe.workflows.tracking import Tracker

# Fields of run.yaml in which models are equal that would end with equal weights.
EQUAL = (
    "records",
    "model",
    "hyperparameters",
    "training",
    "precision",
    "initialized_from",
    "tfpipe",
)
# Fields of run.yaml, and of the training configuration, in which models are equal that lose as much
# by a split at random.
SIMILAR = ("records", "model", "initialized_from", "tfpipe")
BUDGET = ("epochs", "augmentation", "balance")


@dataclass(frozen=True)
class TrainingRun:
    """What one training is made from.

    Attributes:
      task: the task.
      model: name of the model.
      raw: folder of the raw files.
      records: folder of the packed records.
      models: saved_models/<task>/<model>.
      options: the task's options.
      config: how to train.
      precision: "auto", "float32" or "mixed_bfloat16".
      hyperparameters: builder's arguments and training values that the user holds fixed.
      random_split: whether to train once more on a random split, for comparison.
      tensorboard: folder of event files, or None.
      mlflow: tracking URI, or None.
      report: receives the progress.
      initialized_from: version whose weights the training starts from; None for random weights.
      accept: called with the trained model and its evaluation before anything is published. It
        returns the card's comparison with another version, {} for none, or raises a UserError.
      before_calibration: called with the trained model in float32, which it may change.
      after_calibration: likewise, with the calibrated one. It returns the thresholds to use, or
        None for those that the validation split chooses.
    """

    task: Task
    model: str
    raw: Path
    records: Path
    models: Path
    options: Any
    config: TrainingConfig
    precision: str = "auto"
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    random_split: bool = True
    tensorboard: Path | None = None
    mlflow: str | None = None
    report: Reporter = silent
    initialized_from: Path | None = None
    accept: Callable[[keras.Model, Evaluation], dict[str, Any]] = lambda model, evaluation: {}
    before_calibration: Callable[[keras.Model], None] = lambda model: None
    after_calibration: Callable[[keras.Model], dict[str, float] | None] = lambda model: None


def tune(
    run: TrainingRun,
    config: SearchConfig,
    *,
    workers: WorkerConfig,
    epochs: int | None,
    more_trials: int = 0,
    time_s: float | None = None,
) -> dict[str, Any]:
    """Searches hyperparameters, trains the winner, and publishes it as the next version.

    A stopped search resumes.

    Args:
      run: the run.
      config: what is searched.
      workers: who runs the trials.
      epochs: maximum epochs of the final fit; None for the search's number.
      more_trials: how many trials a finished search is to have more.
      time_s: seconds that trials and epochs are chosen for, see `time_budget`; or None.

    Returns:
      {"version", "path", "metrics"}.
    """
    data, spec = opened(run)
    run = replace(run, config=symmetries.with_measured_augmentation(run.config, data))
    config = replace(config, training=asdict(run.config))
    if time_s:
        trainings = 1 + (run.random_split and random_split.differs(data, settings=run.config))
        budget = time_budget.planned(time_s, config, run.models, data=data, trainings=trainings)
        run.report("search", {"note": budget.in_words(time_s)})
        config = replace(config, trials=budget.trials, trial_epochs=budget.trial_epochs)
        epochs = budget.epochs
    best = search_run.run_search(
        config,
        run.models / "search",
        records=(data, spec),
        workers=workers,
        more_trials=more_trials,
        epochs=epochs,
        report=run.report,
    )
    if more := best.get("more_trials", 0):
        at_first = None if config.algorithm == "hyperband" else best["max_trials"]
        config = replace(config, trials=at_first, more_trials=more)
    final = _final_fit(run.config, best["training"])
    plan = search_plan.for_records(search_plan.plan_of(config), config, data, epochs=epochs)
    final = replace(final, epochs=plan.epochs)
    with dtype_policy(run.precision):
        recipe = _recipe("tune", run, data, best["model"], final, search=config)
        return _train(run, data, spec, recipe, best)


def work(run: TrainingRun, config: SearchConfig, *, workers: WorkerConfig) -> None:
    """Runs trials for a search whose chief is elsewhere, until that search is over."""
    data, _ = opened(run)
    training = asdict(symmetries.with_measured_augmentation(run.config, data))
    config = replace(config, training=training)
    search_run.run_workers(config, run.models / "search", workers=workers)


def train(run: TrainingRun, *, epochs: int | None = None) -> dict[str, Any]:
    """Trains one model by given, else best-known, else published hyperparameters.

    Args:
      run: the run.
      epochs: maximum epochs; None for those of the model's recipe, or of `run.config`.
    """
    data, spec = opened(run)
    config = symmetries.with_measured_augmentation(run.config, data)
    best = search_results.read_best(run.models / "search")
    search = tuning.search_of(run.task.name, run.model)
    base = run.task.model_arguments.get(run.model, {})
    arguments = base | (best["model"] if best else {}) | model_part(run)
    values = best["training"] if best else search_plan.recipe_of(search)
    final = _final_fit(config, values | _training_part(run))
    steps = search.steps if search and not best else 0
    least = training_compile.epochs_of(steps, data, final)
    final = replace(final, epochs=epochs or max(final.epochs, least))
    with dtype_policy(run.precision):
        recipe = _recipe("train", run, data, arguments, final)
        return _train(run, data, spec, recipe, best)


def train_as_given(
    run: TrainingRun, arguments: dict[str, Any], *, command: str = "retrain"
) -> dict[str, Any]:
    """Trains by just these hyperparameters, from `run.initialized_from`'s or random weights.

    Args:
      run: the run; its training config is used as it is.
      arguments: the builder's arguments.
      command: how run.yaml names the run.
    """
    data, spec = opened(run)
    run = replace(run, config=symmetries.with_measured_augmentation(run.config, data))
    if run.initialized_from:
        spec = warm_start.spec_of(run.initialized_from, spec)
    with dtype_policy(run.precision):
        return _train(run, data, spec, _recipe(command, run, data, arguments, run.config), None)


def train_trees(
    task: Task,
    records: Path,
    folder: Path,
    *,
    config: TreeSearchConfig,
    command: str = "trees",
    retrained_from: Path | None = None,
    report: Reporter = silent,
    **options: Any,
) -> dict[str, Any]:
    """Searches and trains boosted trees, and publishes them with their run.yaml.

    Args:
      task: the task.
      records: its packed records.
      folder: saved_models/<task>/xgboost.
      config: what is searched.
      command: how run.yaml names the run.
      retrained_from: version whose hyperparameters are used again, without a search; or None.
      report: receives the progress.
      options: `min_precision` and `accept` of `baselines.train_trees.train`.

    Returns:
      {"version", "path", "metrics"}.
    """
    manifest = data_manifest.read(records)

    def write_run(draft: Path, search: dict[str, Any]) -> None:
        recipe = RunConfig(
            command=command,
            task=catalog.origin_of(task),
            model=folder.name,
            options=manifest.options,
            split=SplitConfig(manifest.fractions, manifest.salt),
            skip_bad=manifest.unreadable_files,
            hyperparameters=search["arguments"],
            random_split=False,
            initialized_from=int(retrained_from.name) if retrained_from else None,
            trees=config,
            records=manifest.fingerprint,
        )
        run_config.write(recipe, draft / "assets.extra")

    return trees_training.train(
        task,
        records,
        folder,
        config=config,
        best=store.read_card(retrained_from).search if retrained_from else None,
        extra_files=write_run,
        report=report,
        **options,
    )


def _final_fit(config: TrainingConfig, values: dict) -> TrainingConfig:
    """Returns how a winner is trained: the rate falls to 0, and hard examples are drawn more."""
    return replace(config, **{"schedule": "cosine", "mining": True} | values)


def _recipe(
    command: str,
    run: TrainingRun,
    data: Dataset,
    arguments: dict[str, Any],
    config: TrainingConfig,
    *,
    search: SearchConfig | None = None,
) -> RunConfig:
    """Returns all that makes the version, as run.yaml holds it."""
    manifest = data.manifest
    return RunConfig(
        command=command,
        task=catalog.origin_of(run.task),
        model=run.model,
        options=manifest.options,
        split=SplitConfig(manifest.fractions, manifest.salt),
        skip_bad=manifest.unreadable_files,
        hyperparameters=arguments,
        training=config,
        search=replace(search, records="") if search else None,
        precision=keras.config.dtype_policy().name,
        random_split=run.random_split,
        initialized_from=int(run.initialized_from.name) if run.initialized_from else None,
        records=manifest.fingerprint,
    )


def opened(run: TrainingRun) -> tuple[Dataset, Spec]:
    """Returns the records, checked whole, and what a model may know of them."""
    return open_records.opened(run.task, run.records, model=run.model, is_checked=False)


class RandomSplitScores(NamedTuple):
    """Scores by a random split, and the version that they were measured with.

    Attributes:
      scores: metric -> value; {} where they were not measured.
      version: the version; None for the one that is being trained.
      grouped: metric -> value of that version's test split by whole groups.
    """

    scores: dict[str, Any]
    version: int | None = None
    grouped: dict[str, Any] = {}


def claimed_before(
    models: Path, recipe: RunConfig, settings: TrainingConfig
) -> RandomSplitScores | None:
    """Returns the random-split scores of an earlier version; None where they must be measured.

    An equal model has the same hyperparameters, training, precision, first weights and release of
    tfpipe. Trained on the same random split it would end as the other one, so its scores are this
    one's. Else those of a version with the same records, model and epochs show what a random split
    claims, beside that version's own scores by whole groups: they are measured once.

    Args:
      models: saved_models/<task>/<model>.
      recipe: of the model.
      settings: its training configuration.
    """
    similar = None
    for number in reversed(store.versions(models)):
        version = models / str(number)
        try:
            other = run_config.read(version / "assets.extra" / "run.yaml")
            card = store.read_card(version)
        except UserError:  # a damaged version is no source
            continue
        if not card.random_split_scores:
            continue
        measured = card.random_split_version
        if all(getattr(other, name) == getattr(recipe, name) for name in EQUAL):
            return RandomSplitScores(card.random_split_scores, measured, card.random_split_grouped)
        budget = {name: card.training.get(name) for name in BUDGET}
        is_similar = all(getattr(other, name) == getattr(recipe, name) for name in SIMILAR)
        if not measured and is_similar and budget == {n: getattr(settings, n) for n in BUDGET}:
            test = card.metrics.get("test", {})
            grouped = {name: test[name] for name in card.random_split_scores if name in test}
            similar = similar or RandomSplitScores(card.random_split_scores, number, grouped)
    return similar


def _training_part(run: TrainingRun) -> dict:
    return search_plan.fixed_parts(run.hyperparameters, model=run.model)[1]


def model_part(run: TrainingRun) -> dict:
    """Returns the user's builder arguments; an unknown one is refused with the nearest name."""
    return search_plan.fixed_parts(run.hyperparameters, model=run.model)[0]


def _train(
    run: TrainingRun, data: Dataset, spec: Spec, recipe: RunConfig, best: dict[str, Any] | None
) -> dict[str, Any]:
    settings = recipe.training or run.config
    values = {"model": run.model, **recipe.hyperparameters, **asdict(settings)}
    with (
        _training_folder(run, recipe) as unfinished,
        tracking.tracked(
            tensorboard=run.tensorboard,
            mlflow=run.mlflow,
            name=run.task.name,
            values=values,
            unfinished=unfinished.path,
        ) as trackers,
    ):
        folder = unfinished.path
        result = _trained(run, data, spec, recipe, best, folder=folder, trackers=trackers)
        unfinished.remove()
        for tracker in trackers:
            tracker.log_version(Path(result["path"]), data.folder)
    return result


def _trained(
    run: TrainingRun,
    data: Dataset,
    spec: Spec,
    recipe: RunConfig,
    best: dict[str, Any] | None,
    *,
    folder: Path,
    trackers: list[Tracker],
) -> dict[str, Any]:
    arguments, settings = recipe.hyperparameters, recipe.training or run.config

    def built() -> keras.Model:
        if run.initialized_from:
            return warm_start.model_of(run.initialized_from, spec, arguments)
        return build(run.model, spec, arguments)

    keras.utils.set_random_seed(settings.seed)
    with training_compile.strategy().scope():
        model = built()
        if settings.epochs:
            loop.prepare(model, data, settings=settings)
    callbacks = [
        lambda epoch, logs: run.report(
            "train", {"epoch": epoch, "epochs": settings.epochs, **logs}
        ),
        loggers.history_csv(folder / "history.csv"),
        *[tracker.log_epoch for tracker in trackers],
    ]
    history: dict[str, list[float]] = {}
    if settings.epochs:
        history = loop.fit(
            model,
            data,
            settings=settings,
            checkpoint_folder=folder,
            callbacks=callbacks,
            report=run.report,
        )
    claimed = RandomSplitScores({})
    if run.random_split and random_split.differs(data, settings=settings):
        before = claimed_before(run.models, recipe, settings)
        if before is None:
            run.report("random-split", {})
            measured = random_split.random_split_scores(
                built, data, settings=settings, report=run.report
            )
            before = RandomSplitScores(measured or {})
        claimed = before
    exported = in_float32(model, built)
    run.before_calibration(exported)
    fitted = (
        None
        if reconstructs(exported)
        else evaluate.calibrate(data, exported, balance=settings.balance)
    )
    thresholds = run.after_calibration(exported)
    evaluation = evaluate.evaluate(
        replace(run.task, classes=spec.classes),
        run.raw,
        data,
        exported,
        options=run.options,
        thresholds=thresholds,
        report=run.report,
    )
    comparison = run.accept(exported, evaluation)
    run.report("export", {})
    card = VersionCard(
        task=run.task.name,
        model=run.model,
        hyperparameters=arguments,
        training=asdict(settings) | {"precision": keras.config.dtype_policy().name},
        classes=spec.classes,
        parameters=model.count_params(),
        ordinal_target=run.task.scoring.ordinal_target,
        ambiguous=run.task.scoring.ambiguous,
        options=data.manifest.options,
        data=data.manifest.summary,
        thresholds=evaluation.thresholds,
        inference_mode=evaluation.inference_mode,
        inference_modes=evaluation.inference_modes,
        metrics=evaluation.metrics,
        class_metrics=evaluation.class_metrics,
        calibration=(
            fitted._asdict()
            | {"error": evaluation.calibration, "class_error": evaluation.class_calibration}
            if fitted
            else {}
        ),
        abstention=evaluation.abstention or {},
        random_split_scores=claimed.scores,
        random_split_version=claimed.version,
        random_split_grouped=claimed.grouped,
        false_positive_kinds=evaluation.false_positive_kinds,
        history=history,
        search=best or {},
        initialized_from=int(run.initialized_from.name) if run.initialized_from else None,
        comparison=comparison,
    )
    card = card_statistics.with_statistics(
        card,
        run.task,
        data.folder,
        evaluation.predictions,
        manifest=data.manifest,
        inputs=calls.inputs_of(exported),
    )
    batches = dataset.batches(data.folder, dataset.VALIDATION, manifest=data.manifest)
    examples = next(batches.as_numpy_iterator())[0]

    def extra_files(draft: Path) -> None:
        write.write(draft, data.folder)
        model_card.write(draft)
        extra = draft / "assets.extra"
        if history:  # none without an epoch
            (extra / "history.csv").write_bytes((folder / "history.csv").read_bytes())
        run_config.write(recipe, extra)

    novelty = novelty_file.fit(
        exported, data, ignores_exposure=run.task.preprocessing.per_image_standardization
    )
    path = store.publish(
        NetworkExport(exported, spec, examples, evaluation.thresholds, novelty),
        run.models,
        card=card,
        tables={
            "predictions": evaluation.predictions,
            "groups": card_statistics.groups(data.folder, manifest=data.manifest),
            "sources": previous_version.sources(data.manifest),
        },
        extra_files=extra_files,
    )
    return {"version": int(path.name), "path": str(path), "metrics": evaluation.metrics}


def _training_folder(run: TrainingRun, recipe: RunConfig) -> ResumableFolder:
    """Returns the folder of an unfinished training, which one process at a time resumes."""
    plan = {
        "model": recipe.hyperparameters,
        "settings": asdict(recipe.training or run.config),
        "data": recipe.records,
        "precision": recipe.precision,
    }
    return ResumableFolder(
        run.models / "training",
        plan | ({"begun_with": str(run.initialized_from)} if run.initialized_from else {}),
        work="training",
        busy=f"Another training is running in {run.models}. Wait for it to end.",
    )
