"""The stages one after the other: what `tfpipe tune` and `tfpipe train` do."""

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import tuning
from tfpipe import evaluation, inputs, manifests, naive, report, saved, search, training
from tfpipe.errors import UserError
from tfpipe.models import MODELS
from tfpipe.models.parts import Spec
from tfpipe.task import Task, choose

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Run:
    """One run of a task on one model.

    Attributes:
      task: the question.
      model: name of the model.
      raw: raw folder.
      folder: packed records.
      models: saved_models/<task>/<model>.
      options: the task's.
      settings: how to train.
      precision: "auto", "float32" or "mixed_bfloat16".
      fixed: builder's arguments and training values given by the user.
      with_naive: whether to train once more on a random split, for comparison.
      tell: told (stage, facts) as it goes.
    """

    task: Task
    model: str
    raw: Path
    folder: Path
    models: Path
    options: Any
    settings: training.Settings
    precision: str = "auto"
    fixed: dict[str, Any] = field(default_factory=dict)
    with_naive: bool = True
    tell: Tell = lambda stage, facts: None


def tune(run: Run, *, quick: bool, algorithm: str, epochs: int | None) -> dict[str, Any]:
    """Searches, or goes on searching; trains the winner; publishes it as the next version.

    Args:
      run: the run.
      quick: smaller models and budget.
      algorithm: "hyperband" or "bayesian".
      epochs: of the winner's training; None for the search's own.

    Returns:
      {"version", "path", "scores", "best"}.
    """
    key = (run.task.name, run.model)
    known = tuning.SEARCHES.get(key)
    if known is None:
        there = ", ".join(model for task, model in tuning.SEARCHES if task == run.task.name)
        raise UserError(
            f"There is no search space for {run.model} on {run.task.name}, only for {there}."
        )
    data, spec = opened(run)
    _policy(run)
    space = known.quick_space if quick else known.space
    plan = search.Plan(
        space=lambda hp: space(hp) | model_part(run),
        training=lambda hp: known.training(hp) | _training_part(run),
        algorithm=algorithm,
        max_epochs=known.quick_max_epochs if quick else known.max_epochs,
        factor=known.factor,
        max_trials=known.quick_max_trials if quick else known.max_trials,
        fixed=run.fixed,
    )
    folder = run.models / "search"
    best = search.tune(
        lambda arguments: MODELS[run.model](spec, **arguments),
        data,
        folder,
        plan=plan,
        settings=run.settings,
        report=lambda told: run.tell("search", told),
    )
    epochs = epochs or (known.quick_epochs if quick else known.epochs)
    settings = replace(run.settings, **best["training"], epochs=epochs)
    return _train(run, data, spec, best["model"], settings, best)


def train(run: Run) -> dict[str, Any]:
    """Trains one model with the values given, else a search's best, else the published ones."""
    data, spec = opened(run)
    _policy(run)
    best = search.read_best(run.models / "search")
    arguments = (best["model"] if best else {}) | model_part(run)
    values = (best["training"] if best else {}) | _training_part(run)
    settings = replace(run.settings, **values)
    return _train(run, data, spec, arguments, settings, best)


def opened(run: Run) -> tuple[training.Data, Spec]:
    """Returns the records, checked whole, and what a model may know of them."""
    manifest = manifests.trusted(run.folder)
    stats = manifests.read_stats(run.folder)
    spec = Spec(
        image_shape=tuple(manifest["image_shape"]),
        image_dtype=manifest["image_dtype"],
        classes=tuple(manifest["classes"]),
        columns=tuple(manifest["columns"]),
        even_exposure=run.task.even_exposure,
        **{name: tuple(values) for name, values in stats.items()},
    )
    return training.Data(run.folder, manifest, run.task.objective), spec


def _policy(run: Run) -> None:
    keras.config.set_dtype_policy(training.compute_policy(run.precision))


def _training_part(run: Run) -> dict:
    return {k: v for k, v in run.fixed.items() if k in ("optimizer", "learning_rate")}


def model_part(run: Run) -> dict:
    """Returns the user's builder arguments; an unknown one is refused with the nearest name."""
    names = list(inspect.signature(MODELS[run.model]).parameters)[1:]
    given = {k: v for k, v in run.fixed.items() if k not in ("optimizer", "learning_rate")}
    for name in given:
        choose(name, [*names, "optimizer", "learning_rate"], noun=f"hyperparameter of {run.model}")
    return given


def _train(run: Run, data, spec, arguments, settings, best) -> dict[str, Any]:
    def built() -> keras.Model:
        return MODELS[run.model](spec, **arguments)

    settings = replace(settings, decay=True)
    keras.utils.set_random_seed(settings.seed)
    model = built()
    training.prepare(model, data, settings=settings)
    tell = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: run.tell(
            "train", {"epoch": epoch + 1, "epochs": settings.epochs, **logs}
        )
    )
    history = training.fit_to_end(model, data, settings=settings, callbacks=[tell])
    claimed = None
    if run.with_naive:
        run.tell("naive", {})
        claimed = naive.random_split_scores(built, data, settings=settings)
    exported = in_float32(model, built)

    def classify(images: np.ndarray) -> np.ndarray:
        return exported.predict_on_batch({"image": images})

    known = evaluation.evaluate(
        run.task,
        run.raw,
        data,
        _batched(classify),
        options=run.options,
        progress=lambda done, total: run.tell("evaluate", {"done": done, "total": total}),
    )
    run.tell("export", {})
    card = {
        "task": run.task.name,
        "model": run.model,
        "hyperparameters": arguments,
        "training": asdict(settings) | {"precision": keras.config.dtype_policy().name},
        "classes": spec.classes,
        "parameters": model.count_params(),
        "options": asdict(run.options),
        "data": {
            key: data.manifest[key]
            for key in ("fingerprint", "counts", "groups", "fractions", "salt", "notes", "bad")
        },
        "thresholds": known.thresholds,
        "scores": known.scores,
        "random_split_scores": claimed,
        "false_findings": known.false_kinds,
        "history": history,
        "search": best,
    }
    checked = next(iter(inputs.batches(data.folder, "validation", manifest=data.manifest)))
    draft = saved.publish(
        exported, spec, run.models, card=card, pictures_checked=checked[0]["image"].numpy()
    )
    known.predictions.to_csv(draft / "assets.extra" / "predictions.csv", index=False)
    report.write(draft, data.folder)
    path = saved.number(draft)
    return {"version": int(path.name), "path": str(path), "scores": known.scores}


def in_float32(model: keras.Model, build: Callable[[], keras.Model]) -> keras.Model:
    """Returns the same weights in a network that computes in float32, as every export does."""
    policy = keras.config.dtype_policy().name
    keras.config.set_dtype_policy("float32")
    rebuilt = build()
    rebuilt.set_weights(model.get_weights())
    keras.config.set_dtype_policy(policy)
    return rebuilt


def _batched(classify: Callable, *, batch_size: int = 128) -> Callable:
    def run(images: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [classify(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        )

    return run
