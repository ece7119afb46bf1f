"""A project: one folder of data and one of saved models, and what can be done with them.

The command line and notebooks use the same functions. Each imports what it needs when it is called,
so that `import tfpipe` and `tfpipe --help` are quick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpipe import __version__
from tfpipe.base import processes, storage
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.results import Comparison, Exploration
from tfpipe.version import Version
from tfpipe.workspace import Workspace, option_settings

if TYPE_CHECKING:
    from tfpipe.data.config import PackingConfig
    from tfpipe.search.config import SearchConfig
    from tfpipe.tasks.task import Task
    from tfpipe.workflows.run_config import RunConfig
    from tfpipe.workflows.train import TrainingRun

LOG = logging.getLogger(__name__)
PRELOAD = ("tfpipe.registry.parity", "tfpipe.search.worker")  # what fresh processes import


@dataclass(frozen=True)
class Project(Workspace):
    """A workspace and what can be done in it: tune, train, retrain, compare, explore, review.

    Attributes are those of `Workspace`.
    """

    def tune(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        algorithm: str = "hyperband",
        quick: bool = False,
        space: str | Path | None = None,
        trials: int | None = None,
        more_trials: int = 0,
        trial_epochs: int | None = None,
        trial_limit_min: float | None = None,
        time_min: float | None = None,
        folds: int = 0,
        workers: int = 1,
        chief: str | None = None,
        wait_s: float = 60.0,
        token_file: Path | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        precision: str = "auto",
        balance: str = "sampling",
        random_split: bool = True,
        packing: PackingConfig | None = None,
        tensorboard: Path | None = None,
        mlflow: str | None = None,
    ) -> Version:
        """Searches hyperparameters, trains the winner, and publishes it as the next version.

        Raw files are packed first where records are missing or raw files have changed. A stopped
        run resumes.

        Args:
          task: the task, or its name.
          model: name of the model; None for the task's first.
          algorithm: "hyperband", "bayesian" or "random".
          quick: smaller models and a smaller budget.
          space: Python file with `space(hp)` and perhaps `training(hp)`.
          trials: number of trials of a Bayesian or random search.
          more_trials: how many trials a finished search is to have more, perhaps in other ranges.
          trial_epochs: maximum epochs of a trial.
          trial_limit_min: minutes after which a trial is stopped.
          time_min: minutes that trials and epochs are chosen for, in place of giving them.
          folds: cross-validation folds of each trial; 0 for the validation split.
          workers: processes on this machine that run trials.
          chief: "host:port" where the search accepts workers of other machines.
          wait_s: seconds that workers try to reach the chief.
          token_file: file with the token that chief and workers share, for its owner alone; None
            for the variable TFPIPE_SEARCH_TOKEN, else a file in the search's folder.
          hyperparameters: values held fixed: builder's arguments or training values.
          epochs: maximum epochs of the final fit; None for the search's number.
          precision: "auto", "float32" or "mixed_bfloat16".
          balance: against rare classes, "sampling", "weights" or "none".
          random_split: whether to also measure what a random split would have claimed.
          packing: how raw files are packed; None for what the packed records were made by.
          tensorboard: folder of TensorBoard's event files.
          mlflow: tracking URI of an MLflow server.

        Returns:
          The published version.
        """
        run, search = self._search(
            task,
            model=model,
            algorithm=algorithm,
            quick=quick,
            space=space,
            trials=trials,
            trial_epochs=trial_epochs,
            folds=folds,
            hyperparameters=hyperparameters,
            precision=precision,
            balance=balance,
            packing=packing,
        )
        from tfpipe.search import run as search_run
        from tfpipe.search import time_budget
        from tfpipe.workflows import train

        limit_s = 60 * trial_limit_min if trial_limit_min else None
        pool = search_run.WorkerConfig(
            workers, chief or search_run.LOCAL_ADDRESS, limit_s, wait_s, token_file
        )
        if time_min:
            time_budget.check(search, more_trials=more_trials, epochs=epochs, chief=pool.chief)
        self.pack(run.task, **self._packing(run.task, packing))
        run = replace(run, random_split=random_split, tensorboard=tensorboard, mlflow=mlflow)
        more: dict[str, Any] = {"more_trials": more_trials, "time_s": time_min and 60 * time_min}
        with self.reporting() as report:
            run = replace(run, report=report)
            made = train.tune(run, search, workers=pool, epochs=epochs, **more)
        return self._published(run.task, made)

    def work(
        self,
        task: Task | str,
        *,
        chief: str,
        workers: int = 1,
        wait_s: float = 60.0,
        token_file: Path | None = None,
        **search: Any,
    ) -> Path:
        """Runs trials for a search whose chief is elsewhere, until that search is over.

        Args:
          task: the task, or its name.
          chief: "host:port" of the search's chief.
          workers: processes on this machine that run trials.
          wait_s: seconds that workers try to reach the chief.
          token_file: as the chief's.
          search: what the chief's `tune` was given: model, algorithm, quick, space, trials,
            trial_epochs, trial_limit_min, folds, hyperparameters, precision, balance, packing.

        Returns:
          The folder of this machine's states of trials.
        """
        limit_min = search.pop("trial_limit_min", None)
        run, config = self._search(task, **search)
        from tfpipe.search import run as search_run
        from tfpipe.workflows import train

        limit_s = 60 * limit_min if limit_min else None
        pool = search_run.WorkerConfig(workers, chief, limit_s, wait_s, token_file)
        train.work(run, config, workers=pool)
        return run.models / "search"

    def train(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        precision: str = "auto",
        balance: str = "sampling",
        random_split: bool = True,
        packing: PackingConfig | None = None,
        tensorboard: Path | None = None,
        mlflow: str | None = None,
    ) -> Version:
        """Trains one model by given, else best-known, else published hyperparameters; publishes it.

        Args:
          hyperparameters: builder's arguments or training values.
          epochs: maximum number of epochs; None for those of the model's recipe, else 30.

        The other arguments are those of `tune`.

        Returns:
          The published version.
        """
        run = self._run(task, model, hyperparameters, packing, precision, balance=balance)
        from tfpipe.workflows import train

        self.pack(run.task, **self._packing(run.task, packing))
        with self.reporting() as report:
            run = replace(
                run,
                random_split=random_split,
                tensorboard=tensorboard,
                mlflow=mlflow,
                report=report,
            )
            return self._published(run.task, train.train(run, epochs=epochs))

    def train_trees(
        self,
        task: Task | str,
        *,
        trials: int = 20,
        folds: int = 0,
        balance: str = "weights",
        min_precision: float = 0.9,
        packing: PackingConfig | None = None,
    ) -> Version:
        """Searches and trains boosted trees on the task's columns; publishes them.

        Args:
          task: the task, or its name.
          trials: number of candidates; the published hyperparameters are the first.
          folds: grouped folds of the search; 0 for five, or one a group where there are fewer.
          balance: against rare classes, "weights" or "none".
          min_precision: precision below which a class is not named (abstain).
          packing: how raw files are packed; None for what the packed records were made by.

        Returns:
          The published version.
        """
        task = self.resolve(task)
        self.fetch_versions(task, publishes=True)
        records = self.pack(task, **self._packing(task, packing))
        from tfpipe.baselines.config import TreeSearchConfig
        from tfpipe.models import boosted_trees
        from tfpipe.registry import trees
        from tfpipe.workflows import train

        choose(balance, boosted_trees.BALANCES, noun="balance")
        with self.reporting() as report:
            made = train.train_trees(
                task,
                records.path,
                self.saved_models / task.name / trees.MODEL,
                config=TreeSearchConfig(trials, folds, balance, self.seed),
                min_precision=min_precision,
                report=report,
            )
        return self._published(task, made)

    def retrain(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        initialized_from: int | None = None,
        from_scratch: bool = False,
        epochs: int | None = None,
        force: bool = False,
        skip_bad: int | None = None,
        seed: int | None = None,
    ) -> Version:
        """Packs what is new and trains a version's model again; publishes it unless it is worse.

        Args:
          task: the task, or its name.
          model: name of the model; None for that of the version written last.
          initialized_from: number of the version whose weights training starts from; None for the
            newest.
          from_scratch: whether training starts from random weights.
          epochs: maximum epochs; None for the version's own, or a third where weights are reused.
          force: whether to publish a worse version, and to train though nothing has changed.
          skip_bad: unreadable files that may be left out; None for as many as before.
          seed: random seed; None for the version's own.

        Returns:
          The published version; `card.comparison` holds how it compares with the previous one.

        Raises:
          RetrainingRefused: the new version is worse; nothing was published.
        """
        task = self.resolve(task)
        if from_scratch and initialized_from is not None:
            raise UserError(
                "A version to start from and from scratch exclude each other. Give one of them."
            )
        processes.begin(*PRELOAD)
        start_tensorflow()
        from tfpipe.workflows import retrain

        version = self.version(task, model=model)
        self.fetch(version.task)
        begun = retrain.starting_version(version.path, initialized_from, from_scratch=from_scratch)
        with self.reporting() as report:
            made = retrain.pack_and_retrain(
                version.task,
                version.path,
                raw=self.raw_folder(task),
                records=self.records_folder(version.task),
                own_images=self.records_folder(replace(version.task, view="")),
                plan=retrain.RetrainingPlan(begun, epochs, force, seed),
                skip_bad=skip_bad,
                report=report,
            )
        return self._published(task, made)

    def rerun(self, run_yaml: str | Path) -> Version:
        """Repeats the run that a run.yaml describes: records, search, training.

        Args:
          run_yaml: the file, assets.extra/run.yaml of a version.

        Returns:
          The published version.

        Raises:
          UserError: the file is wrong, or the version that training started from is missing.
        """
        start_tensorflow()
        from tfpipe.training.config import TrainingConfig
        from tfpipe.workflows import run_config

        config = run_config.read(Path(run_yaml))
        if config.tfpipe != __version__:
            LOG.warning("The run was made by tfpipe %s, this is another version.", config.tfpipe)
        seed = (config.training or config.trees or TrainingConfig()).seed
        project = replace(self, seed=seed)
        return project._rerun(config)

    def compare(
        self,
        task: Task | str,
        *,
        models: Sequence[str] | None = None,
        folds: int | None = None,
        by_splits: bool | None = None,
        epochs: int = 20,
        quick: bool = False,
        random_split: bool = False,
        hyperparameters: Mapping[str, Any] | None = None,
        balance: str = "sampling",
        packing: PackingConfig | None = None,
    ) -> Comparison:
        """Trains models on the same examples, and compares metrics, time and size.

        Args:
          task: the task, or its name.
          models: names; "xgboost" is boosted trees on columns. A network's name may end in
            +pretrained or +random, and in +grey. None for the task's usual ones.
          folds: grouped folds; None for five, or one a group where there are fewer.
          by_splits: whether to score on the packed validation and test splits, not by folds; None
            for the task's way.
          epochs: epochs of each network.
          quick: whether networks are small.
          random_split: whether to add the accuracy that a random split would have claimed.
          hyperparameters: values held fixed in all models that have them.
          balance: against rare classes, "sampling", "weights" or "none".
          packing: how raw files are packed; None for what the packed records were made by.
        """
        task = self.resolve(task)
        from tfpipe.baselines import compare

        views = compare.views(task, models)
        records = {one.view: self.pack(one, **self._packing(one, packing)).path for one in views}
        with self.reporting() as report:
            table, by_fold = compare.compare_models(
                task,
                records,
                raw=self.raw_folder(task),
                names=models,
                models=self.saved_models / task.name,
                folds=folds,
                by_splits=by_splits,
                epochs=epochs,
                quick=quick,
                with_random_split=random_split,
                hyperparameters=dict(hyperparameters or {}),
                balance=balance,
                seed=self.seed,
                report=report,
            )
        path = storage.push_or_keep(self.saved_models / task.name / "comparison")
        return Comparison(table, by_fold, path, compare.metrics_of(by_fold))

    def leaderboard(
        self,
        task: Task | str,
        *,
        features: Sequence[str] = (),
        select: int = 0,
        folds: int | None = None,
        packing: PackingConfig | None = None,
    ) -> Comparison:
        """Compares 27 classifiers on columns or texture features.

        Args:
          task: the task, or its name.
          features: of "columns", "texture", "hog" and "lbp"; () for the task's usual ones.
          select: number of features to select; 0 for all.
          folds: grouped folds; None for five, or one a group where there are fewer.
          packing: how raw files are packed; None for what the packed records were made by.

        Returns:
          The table of classifiers; notes about the features are in `table.attrs["notes"]`.
        """
        task = self.resolve(task)
        from tfpipe.baselines import feature_tables

        self.fetch_versions(task)
        raw = self._fetch_raw(task)
        if feature_tables.has_tables(raw):
            table = feature_tables.read(raw)
        else:
            records = self.pack(task, **self._packing(task, packing))
            table = feature_tables.from_records(
                records.path, tuple(features), manifest=records.manifest
            )
        from tfpipe.baselines import leaderboard

        folder = self.saved_models / task.name / "leaderboard"
        with self.reporting() as report:
            frame = leaderboard.run(
                table, folder, folds=folds, select=select, seed=self.seed, report=report
            )
        feature_tables.write(table, folder)
        frame.attrs["notes"] = list(table.notes)
        frame.attrs["features"] = list(table.names)
        return Comparison(frame, frame, storage.push_or_keep(folder))

    def explore(
        self,
        version: Version,
        *,
        leave_out: str | None = None,
        map: str = "umap",
        normalize_orientation: bool = False,
        embeddings: str | Path | None = None,
        out: str | Path | None = None,
    ) -> Exploration:
        """Maps all packed images, labelled or not, and ranks those that show something new.

        Args:
          version: the version whose embeddings are used.
          leave_out: a class, or "each", to train without, to measure which score finds it.
          map: "umap", or "parametric" for a map that is saved.
          normalize_orientation: whether every image is turned to lie the same way first.
          embeddings: table of new images, a .parquet of `Version.predict`, to be ranked instead.
          out: folder to write to; None for explore-N beside version N, or explore-N-TABLE.
        """
        start_tensorflow()
        from tfpipe.explore import new_images, run

        suffix = f"-{Path(embeddings).stem}" if embeddings else ""
        folder = version.path.with_name(f"explore-{version.number}{suffix}")
        with self.reporting() as report:
            config = run.ExplorationConfig(
                task=version.task,
                version=version.path,
                records=self.fetch_records(version.task),
                out=Path(out or folder),
                leave_out=leave_out,
                map_kind=map,
                normalize_orientation=normalize_orientation,
                embeddings=Path(embeddings) if embeddings else None,
                seed=self.seed,
                report=report,
            )
            summary = (new_images if embeddings else run).explore(config)
        storage.push_or_keep(Path(summary["path"]).parent)
        return Exploration(Path(summary["path"]), summary)

    def review(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        number: int | None = None,
        port: int = 8502,
        started: Callable[[dict[str, Any]], None] = lambda page: None,
    ) -> None:
        """Serves the local annotation page until it is interrupted.

        Args:
          task: the task, or its name.
          model: name of the model; None for that of the version written last.
          number: the version's number; None for the newest.
          port: port to listen on; 0 for any free one.
          started: called with the page's address once it can be opened.
        """
        task = self.resolve(task)
        from tfpipe.review import run

        with self.reporting() as report:
            run.review(
                task,
                models=self.saved_models,
                model=model,
                number=number,
                records=self.records_folder,
                raw=self.raw_folder(task),
                port=port,
                started=started,
                report=report,
            )

    def _run(
        self,
        task: Task | str,
        model: str | None,
        hyperparameters: Mapping[str, Any] | None,
        packing: PackingConfig | None,
        precision: str,
        **training: Any,
    ) -> TrainingRun:
        """Returns a training run; every name is checked before anything is packed."""
        task = self.resolve(task)
        name = choose(model or task.models[0], task.models, noun=f"model for {task.name}")
        task = task.for_model(name)
        self.fetch_versions(task, publishes=True)
        from tfpipe.tasks.options import parse_options

        values = parse_options(task, option_settings(self._packing(task, packing)["options"]))
        processes.begin(*PRELOAD)  # for workers and the export's check: it imports meanwhile
        start_tensorflow()
        from tfpipe.base.hardware import PRECISIONS
        from tfpipe.data.sampling import BALANCES
        from tfpipe.training.config import TrainingConfig
        from tfpipe.workflows import train

        choose(training["balance"], BALANCES, noun="balance")
        run = train.TrainingRun(
            task=task,
            model=name,
            raw=self.raw_folder(task),
            records=self.records_folder(task),
            models=self.saved_models / task.name / name,
            options=values,
            config=TrainingConfig(
                **training, seed=self.seed, augmentation=task.preprocessing.augmentation
            ),
            precision=choose(precision, PRECISIONS, noun="precision"),
            hyperparameters=dict(hyperparameters or {}),
        )
        train.model_part(run)
        return run

    def _search(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        space: str | Path | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        precision: str = "auto",
        balance: str = "sampling",
        packing: PackingConfig | None = None,
        **config: Any,
    ) -> tuple[TrainingRun, SearchConfig]:
        """Returns a run and its search, whose space is tried before anything is packed."""
        run = self._run(task, model, hyperparameters, packing, precision, balance=balance)
        from tfpipe.search import plan
        from tfpipe.search.config import SearchConfig
        from tfpipe.tasks import catalog

        search = SearchConfig(
            task=catalog.origin_of(run.task),
            model=run.model,
            records=str(run.records.resolve()),
            space=str(Path(space).resolve()) if space else None,
            fixed=run.hyperparameters,
            training=asdict(run.config),
            precision=precision,
            **config,
        )
        plan.plan_of(search)
        return run, search

    def _rerun(self, config: RunConfig) -> Version:
        from tfpipe.workflows import rerun

        task = self.resolve(config.task).for_model(config.model)
        self.fetch_versions(task, publishes=True)
        rerun.check(config, task)
        records = self.pack(
            task, options=config.options, split=config.split, skip_bad=config.skip_bad
        )
        if config.records not in ("", records.fingerprint):
            LOG.warning(
                "The raw files of %s have changed since, so the scores may differ.", task.name
            )
        with self.reporting() as report:
            made = rerun.rerun(
                config,
                task,
                raw=self.raw_folder(task),
                records=records.path,
                models=self.saved_models / task.name,
                report=report,
            )
        return self._published(task, made)
