"""A project: one folder of data and one of saved models, and what can be done with them.

The command line and notebooks use the same functions. Each imports what it needs when it is called,
so that `import tfpipe` and `tfpipe --help` are quick.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpipe.base import processes
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar, Reporter, silent
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.version import Version, check_inference_mode

if TYPE_CHECKING:
    import pandas as pd

    from tfpipe.data.manifest import RecordManifest
    from tfpipe.search.config import SearchConfig
    from tfpipe.search.importance import Importance
    from tfpipe.search.results import SearchResult
    from tfpipe.serving.limits import Limits
    from tfpipe.tasks.splits import SplitConfig
    from tfpipe.tasks.task import Task
    from tfpipe.workflows.run_config import RunConfig
    from tfpipe.workflows.train import TrainingRun

LOG = logging.getLogger(__name__)
PRELOAD = ("tfpipe.registry.parity", "tfpipe.search.worker")  # what fresh processes import


@dataclass(frozen=True)
class Records:
    """A task's packed records.

    Attributes:
      path: their folder; it opens with `tfds.builder_from_directory`, too.
      manifest: what they hold: classes, counts, splits, notes, fingerprint.
    """

    path: Path
    manifest: RecordManifest

    @property
    def fingerprint(self) -> str:
        """Hash of the raw files, options and split that the records were made from."""
        return self.manifest.fingerprint

    def _repr_html_(self) -> str:
        import pandas as pd

        return pd.DataFrame(self.manifest.counts).to_html()


@dataclass(frozen=True)
class Comparison:
    """Models side by side.

    Attributes:
      table: a row for each model: mean metrics, their deviations, seconds, megabytes.
      folds: a row for each model and fold, or split.
      path: folder of comparison.csv and comparison.png.
      metrics: names of the metrics in the table.
    """

    table: pd.DataFrame
    folds: pd.DataFrame
    path: Path
    metrics: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return self.table.to_html()


@dataclass(frozen=True)
class Exploration:
    """What an exploration of all packed images wrote.

    Attributes:
      path: the page, explore.html.
      summary: numbers of images, clusters and queued images, the score that ranks the queue, notes.
    """

    path: Path
    summary: Mapping[str, Any]

    @property
    def map(self) -> pd.DataFrame:
        """A row for each image: place on the map, cluster, novelty scores."""
        import pandas as pd

        return pd.read_csv(self.path.with_name("map.csv"))

    @property
    def queue(self) -> pd.DataFrame:
        """The images to look at first."""
        import pandas as pd

        return pd.read_csv(self.path.with_name("queue.csv"))


@dataclass(frozen=True)
class SearchReport:
    """A search and its page.

    Attributes:
      path: the page.
      search: the search that it shows.
      importance: how much each hyperparameter mattered.
      searches: a summary of each search of the task.
      trials: a row of text for each trial, the best first.
    """

    path: Path
    search: SearchResult
    importance: Importance
    searches: list[dict[str, Any]]
    trials: list[dict[str, str]]


def load_task(name: str | Path) -> Task:
    """Returns a task.

    Args:
      name: a built-in task, a folder of images, or a Python file with a TASK in it.

    Raises:
      UserError: there is no such task; the sentence names the nearest one.
    """
    from tfpipe.tasks import catalog

    return catalog.find(str(name))


@dataclass(frozen=True)
class Project:
    """One folder of data and one of saved models.

    Attributes:
      data: folder of raw/<task> and records/<task>.
      saved_models: folder of saved versions.
      seed: random seed of searches and trainings.
      progress: whether progress is shown, or a `Reporter` that receives it.
    """

    data: Path = Path("data")
    saved_models: Path = Path("saved_models")
    seed: int = 0
    progress: bool | Reporter = True

    def __post_init__(self) -> None:
        for name in ("data", "saved_models"):
            object.__setattr__(self, name, Path(getattr(self, name)))

    def raw_folder(self, task: Task) -> Path:
        """Returns where a task's raw files lie."""
        return task.raw_files.folder or self.data / "raw" / task.name

    def records_folder(self, task: Task) -> Path:
        """Returns where a task's packed records lie."""
        return self.data / "records" / task.name

    @contextlib.contextmanager
    def reporting(self) -> Iterator[Reporter]:
        """Yields the reporter of one piece of work, and closes its bar."""
        if not isinstance(self.progress, bool):
            yield self.progress
        elif self.progress:
            with ProgressBar() as bar:
                yield bar
        else:
            yield silent

    def sample(self, task: Task | str, **sizes: float | None) -> dict[str, Any]:
        """Draws a small raw data set in the task's own format, with the truth beside it.

        Args:
          task: the task, a built-in one.
          sizes: numbers such as photos=24; `tfpipe sample --help` lists them.

        Returns:
          Counts of what was drawn.
        """
        from tfpipe.tasks import samples

        name = task if isinstance(task, str) else task.name
        return samples.draw(name, self.data / "raw" / name, seed=self.seed, **sizes)

    def pack(
        self,
        task: Task | str,
        *,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
    ) -> Records:
        """Packs raw files into records, where they have changed. A stopped run resumes.

        Args:
          task: the task, or its name.
          options: task options by name; `tfpipe tasks NAME` lists them.
          split: how groups are assigned to splits.
          skip_bad: unreadable files that may be left out.

        Raises:
          UserError: raw files are missing or wrong, or near-copies lie in two splits.
        """
        task = _task(task)
        from tfpipe.tasks.options import parse_options
        from tfpipe.tasks.splits import SplitConfig

        values = parse_options(task, _settings(options))
        start_tensorflow()
        from tfpipe.data import pack

        folder = self.records_folder(task)
        with self.reporting() as report:
            manifest = pack.pack(
                task,
                self.raw_folder(task),
                folder,
                options=values,
                split=split or SplitConfig(),
                skip_bad=skip_bad,
                report=report,
            )
        return Records(folder, manifest)

    def records(self, task: Task | str) -> Records:
        """Returns a task's packed records as they are.

        Raises:
          UserError: nothing is packed.
        """
        folder = self.records_folder(_task(task))
        start_tensorflow()
        from tfpipe.data import manifest

        return Records(folder, manifest.read(folder))

    def verify(self, task: Task | str) -> Records:
        """Checks every record of a task against the manifest.

        Raises:
          UserError: a shard is missing or damaged; the sentence names it.
        """
        folder = self.records_folder(_task(task))
        start_tensorflow()
        from tfpipe.data import manifest

        return Records(folder, manifest.trusted(folder))

    def tune(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        algorithm: str = "hyperband",
        quick: bool = False,
        space: str | Path | None = None,
        trials: int | None = None,
        trial_epochs: int | None = None,
        trial_limit_min: float | None = None,
        folds: int = 0,
        workers: int = 1,
        chief: str | None = None,
        wait_s: float = 60.0,
        hyperparameters: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        precision: str = "auto",
        balance: str = "sampling",
        random_split: bool = True,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
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
          trial_epochs: maximum epochs of a trial.
          trial_limit_min: minutes after which a trial is stopped.
          folds: cross-validation folds of each trial; 0 for the validation split.
          workers: processes on this machine that run trials.
          chief: "host:port" where the search accepts workers of other machines.
          wait_s: seconds that workers try to reach the chief.
          hyperparameters: values held fixed: builder's arguments or training values.
          epochs: maximum epochs of the final fit; None for the search's number.
          precision: "auto", "float32" or "mixed_bfloat16".
          balance: against rare classes, "sampling", "weights" or "none".
          random_split: whether to also measure what a random split would have claimed.
          options: task options by name; None for those of the packed records.
          split: how groups are assigned to splits; None for that of the packed records.
          skip_bad: unreadable files that may be left out.
          tensorboard: folder of TensorBoard's event files.
          mlflow: tracking URI of an MLflow server.

        Returns:
          The published version.
        """
        config: dict[str, Any] = {
            "algorithm": algorithm,
            "quick": quick,
            "space": str(Path(space).resolve()) if space else None,
            "trials": trials,
            "trial_epochs": trial_epochs,
            "folds": folds,
        }
        run, search = self._search(
            task, model, config, hyperparameters, options, precision=precision, balance=balance
        )
        from tfpipe.search import run as search_run
        from tfpipe.workflows import train

        limit_s = 60 * trial_limit_min if trial_limit_min else None
        pool = search_run.WorkerConfig(workers, chief or search_run.LOCAL_ADDRESS, limit_s, wait_s)
        self.pack(run.task, **self._packing(run.task, options, split), skip_bad=skip_bad)
        with self.reporting() as report:
            run = replace(
                run,
                random_split=random_split,
                tensorboard=tensorboard,
                mlflow=mlflow,
                report=report,
            )
            made = train.tune(run, search, workers=pool, epochs=epochs)
        return self._published(run.task, made)

    def work(
        self,
        task: Task | str,
        *,
        chief: str,
        model: str | None = None,
        workers: int = 1,
        wait_s: float = 60.0,
        algorithm: str = "hyperband",
        quick: bool = False,
        space: str | Path | None = None,
        trials: int | None = None,
        trial_epochs: int | None = None,
        trial_limit_min: float | None = None,
        folds: int = 0,
        hyperparameters: Mapping[str, Any] | None = None,
        precision: str = "auto",
        balance: str = "sampling",
        options: Mapping[str, Any] | None = None,
    ) -> Path:
        """Runs trials for a search whose chief is elsewhere, until that search is over.

        Args:
          chief: "host:port" of the search's chief; the other arguments are those of its `tune`.

        Returns:
          The folder of this machine's states of trials.
        """
        config: dict[str, Any] = {
            "algorithm": algorithm,
            "quick": quick,
            "space": str(Path(space).resolve()) if space else None,
            "trials": trials,
            "trial_epochs": trial_epochs,
            "folds": folds,
        }
        run, search = self._search(
            task, model, config, hyperparameters, options, precision=precision, balance=balance
        )
        from tfpipe.search import run as search_run
        from tfpipe.workflows import train

        limit_s = 60 * trial_limit_min if trial_limit_min else None
        train.work(run, search, workers=search_run.WorkerConfig(workers, chief, limit_s, wait_s))
        return run.models / "search"

    def train(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        epochs: int = 30,
        precision: str = "auto",
        balance: str = "sampling",
        random_split: bool = True,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
        tensorboard: Path | None = None,
        mlflow: str | None = None,
    ) -> Version:
        """Trains one model by given, else best-known, else published hyperparameters; publishes it.

        Args:
          hyperparameters: builder's arguments or training values.
          epochs: maximum number of epochs.

        The other arguments are those of `tune`.

        Returns:
          The published version.
        """
        run = self._run(
            task, model, hyperparameters, options, precision, balance=balance, epochs=epochs
        )
        from tfpipe.workflows import train

        self.pack(run.task, **self._packing(run.task, options, split), skip_bad=skip_bad)
        with self.reporting() as report:
            run = replace(
                run,
                random_split=random_split,
                tensorboard=tensorboard,
                mlflow=mlflow,
                report=report,
            )
            return self._published(run.task, train.train(run))

    def train_trees(
        self,
        task: Task | str,
        *,
        trials: int = 20,
        folds: int = 0,
        balance: str = "weights",
        min_precision: float = 0.9,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
    ) -> Version:
        """Searches and trains boosted trees on the task's columns; publishes them.

        Args:
          task: the task, or its name.
          trials: number of candidates; the published hyperparameters are the first.
          folds: grouped folds of the search; 0 for five, or one a group where there are fewer.
          balance: against rare classes, "weights" or "none".
          min_precision: precision below which a class is not named (abstain).
          options: task options by name; None for those of the packed records.
          split: how groups are assigned to splits; None for that of the packed records.
          skip_bad: unreadable files that may be left out.

        Returns:
          The published version.
        """
        task = _task(task)
        records = self.pack(task, **self._packing(task, options, split), skip_bad=skip_bad)
        from tfpipe.baselines import tree_search
        from tfpipe.models import boosted_trees
        from tfpipe.registry import trees
        from tfpipe.workflows import train

        choose(balance, boosted_trees.BALANCES, noun="balance")
        with self.reporting() as report:
            made = train.train_trees(
                task,
                records.path,
                self.saved_models / task.name / trees.MODEL,
                config=tree_search.TreeSearchConfig(trials, folds, balance, self.seed),
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
        task = _task(task)
        if from_scratch and initialized_from is not None:
            raise UserError(
                "A version to start from and from scratch exclude each other. Give one of them."
            )
        processes.begin(*PRELOAD)
        start_tensorflow()
        from tfpipe.registry import store
        from tfpipe.workflows import retrain

        version = store.find(self.saved_models, task=task.name, model=model, version=None)
        with self.reporting() as report:
            made = retrain.pack_and_retrain(
                task,
                version,
                raw=self.raw_folder(task),
                records=self.records_folder(task),
                plan=retrain.RetrainingPlan(
                    retrain.starting_version(version, initialized_from, from_scratch=from_scratch),
                    epochs,
                    force,
                    seed,
                ),
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
        if config.tfpipe != _tfpipe_version():
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
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
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
          options: task options by name; None for those of the packed records.
          split: how groups are assigned to splits; None for that of the packed records.
          skip_bad: unreadable files that may be left out.
        """
        task = _task(task)
        records = self.pack(task, **self._packing(task, options, split), skip_bad=skip_bad)
        from tfpipe.baselines import compare

        with self.reporting() as report:
            table, by_fold = compare.compare_models(
                task,
                records.path,
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
        path = self.saved_models / task.name / "comparison"
        return Comparison(table, by_fold, path, compare.metrics_of(by_fold))

    def leaderboard(
        self,
        task: Task | str,
        *,
        features: Sequence[str] = (),
        select: int = 0,
        folds: int | None = None,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
    ) -> Comparison:
        """Compares 27 classifiers on columns or texture features.

        Args:
          task: the task, or its name.
          features: of "columns", "texture", "hog" and "lbp"; () for the task's usual ones.
          select: number of features to select; 0 for all.
          folds: grouped folds; None for five, or one a group where there are fewer.
          options: task options by name; None for those of the packed records.
          split: how groups are assigned to splits; None for that of the packed records.
          skip_bad: unreadable files that may be left out.

        Returns:
          The table of classifiers; notes about the features are in `table.attrs["notes"]`.
        """
        task = _task(task)
        from tfpipe.baselines import feature_tables

        raw = self.raw_folder(task)
        if feature_tables.has_tables(raw):
            table = feature_tables.read(raw)
        else:
            records = self.pack(task, **self._packing(task, options, split), skip_bad=skip_bad)
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
        return Comparison(frame, frame, folder)

    def explore(
        self,
        version: Version,
        *,
        leave_out: str | None = None,
        map: str = "umap",
        normalize_orientation: bool = False,
        out: str | Path | None = None,
    ) -> Exploration:
        """Maps all packed images, labelled or not, and ranks those that show something new.

        Args:
          version: the version whose embeddings are used.
          leave_out: a class, or "each", that a training leaves out to measure which novelty score
            finds it.
          map: "umap", or "parametric" for a map that is saved.
          normalize_orientation: whether every image is turned to lie the same way first.
          out: folder to write to; None for explore-N beside version N.
        """
        start_tensorflow()
        from tfpipe.explore import run as explore_run

        with self.reporting() as report:
            summary = explore_run.explore(
                explore_run.Exploration(
                    task=version.task,
                    version=version.path,
                    records=self.records_folder(version.task),
                    out=Path(out) if out else version.path.with_name(f"explore-{version.number}"),
                    leave_out=leave_out,
                    map_kind=map,
                    blind=normalize_orientation,
                    seed=self.seed,
                    tell=report,
                )
            )
        return Exploration(Path(summary["path"]), summary)

    def version(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        number: int | None = None,
        kinds: tuple[str, ...] = (),
    ) -> Version:
        """Returns a saved version.

        Args:
          task: the task, or its name.
          model: name of the model; None for that of the version written last.
          number: the version's number; None for the newest.
          kinds: kinds of versions that will do, such as ("classifier",); () for all.
        """
        task = _task(task)
        start_tensorflow()
        from tfpipe.registry import store

        folder = store.find(
            self.saved_models, task=task.name, model=model, version=number, kinds=kinds
        )
        return Version(folder, task=task, project=self)

    def predictor(
        self,
        task: Task | str,
        *,
        model: str | None = None,
        number: int | None = None,
        inference_mode: str | None = None,
    ) -> Version:
        """Returns the version that predicts new raw files.

        Args:
          task: the task, or its name.
          model: name of the model; None for that of the version written last that predicts files.
          number: the version's number; None for the newest.
          inference_mode: checked before anything is loaded.
        """
        task = _task(task)
        check_inference_mode(task, inference_mode)
        start_tensorflow()
        from tfpipe.inference import images

        kinds = ("classifier",) if task.whole_file else images.KINDS
        return self.version(task, model=model, number=number, kinds=kinds)

    def versions(self, task: Task | str) -> pd.DataFrame:
        """Returns a row for each version: number, served, metric, size, speed, date, data."""
        import pandas as pd

        return pd.DataFrame(self.version_rows(task))

    def version_rows(self, task: Task | str) -> list[dict[str, Any]]:
        """Returns what `versions` returns, as dictionaries."""
        name = _task(task).name
        start_tensorflow()
        from tfpipe.registry import history

        return history.table(self.saved_models, task=name)

    def rollback(self, task: Task | str, number: int, *, model: str | None = None) -> Version:
        """Publishes a copy of an earlier version as the next one, so that it is served again."""
        task = _task(task)
        earlier = self.version(task, model=model, number=number)
        from tfpipe.registry import history

        return Version(history.rollback(earlier.path), task=task, project=self)

    def searches(self, task: Task | str) -> pd.DataFrame:
        """Returns a row for each search of a task: model, algorithm, state, trials, best score."""
        import pandas as pd

        from tfpipe.search import results

        folder = self.saved_models / _task(task).name
        return pd.DataFrame([search.summary for search in results.find_searches(folder)])

    def search_report(
        self, task: Task | str, *, model: str | None = None, out: str | Path | None = None
    ) -> SearchReport:
        """Writes the page of a search: trials, importance of hyperparameters, plots.

        Args:
          task: the task, or its name.
          model: name of the model; None for the search that changed last.
          out: page to write; None for one beside the search.

        Raises:
          UserError: there is no such search.
        """
        name = _task(task).name
        from tfpipe.search import report, results
        from tfpipe.search.importance import importance

        searches = results.find_searches(self.saved_models / name)
        if not searches:
            raise UserError(
                f"There is no search of {name} in {self.saved_models}. Run `tfpipe tune {name}`."
            )
        if model:
            names = dict.fromkeys(search.model for search in searches)
            choose(model, names, noun=f"search of {name}")
        search = max(
            (one for one in searches if one.model == (model or one.model)),
            key=lambda one: one.changed,
        )
        measured = importance(search.completed, names=[*search.names, "epochs"])
        path = Path(out) if out else search.folder.with_suffix(".html")
        return SearchReport(
            path=report.write(path, search, measured, task=name),
            search=search,
            importance=measured,
            searches=[one.summary for one in searches],
            trials=[
                {name: results.format_value(row, name) for name in search.columns}
                for row in search.ranked
            ],
        )

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
        task = _task(task)
        from tfpipe.review import app as review_app

        listener = review_app.bind(port)  # before anything that takes long
        version = self.version(task, model=model, number=number, kinds=("classifier",))
        from tfpipe.review import background
        from tfpipe.review import open as review_open

        queue, score_all = review_open.open_queue(
            task, version.path, self.records_folder(task), raw=self.raw_folder(task)
        )
        secret, port = review_app.create_secret(), listener.getsockname()[1]
        page = {
            "path": queue.desk.path,
            "model": version.model,
            "version": version.number,
            "address": f"http://{review_app.HOST}:{port}/{secret}/",
            "notes": list(queue.notes),
        }
        started(page)
        title = f"{task.name}: review by {version.model} {version.number}"
        app = review_app.create_app(
            queue, secret=secret, port=port, title=title, who=getpass.getuser()
        )
        with (
            self.reporting() as report,
            background.BackgroundScoring(queue, score_all, report=report),
        ):
            review_app.run(app, listener)

    def _run(
        self,
        task: Task | str,
        model: str | None,
        hyperparameters: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        precision: str,
        **training: Any,
    ) -> TrainingRun:
        """Returns a training run; every name is checked before anything is packed."""
        task = _task(task)
        name = choose(model or task.models[0], task.models, noun=f"model for {task.name}")
        from tfpipe.tasks.options import parse_options

        values = parse_options(task, _settings(self._packing(task, options, None)["options"]))
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

    def _packing(
        self, task: Task, options: Mapping[str, Any] | None, split: SplitConfig | None
    ) -> dict[str, Any]:
        """Returns options and split as given, or those of the records that are packed already."""
        from tfpipe.tasks.splits import SplitConfig

        if (options is None or split is None) and (
            self.records_folder(task) / "manifest.json"
        ).is_file():
            manifest = self.records(task).manifest
            options = manifest.options if options is None else options
            split = split or SplitConfig(manifest.fractions, manifest.salt)
        return {"options": options or {}, "split": split or SplitConfig()}

    def _search(
        self,
        task: Task | str,
        model: str | None,
        config: dict[str, Any],
        hyperparameters: Mapping[str, Any] | None,
        options: Mapping[str, Any] | None,
        *,
        precision: str,
        balance: str,
    ) -> tuple[TrainingRun, SearchConfig]:
        """Returns a run and its search, whose space is tried before anything is packed."""
        run = self._run(task, model, hyperparameters, options, precision, balance=balance)
        from tfpipe.search import plan
        from tfpipe.search.config import SearchConfig
        from tfpipe.tasks import catalog

        search = SearchConfig(
            task=catalog.origin_of(run.task),
            model=run.model,
            records=str(run.records.resolve()),
            fixed=run.hyperparameters,
            training=asdict(run.config),
            precision=precision,
            **config,
        )
        plan.plan_of(search)
        return run, search

    def _rerun(self, config: RunConfig) -> Version:
        task = load_task(config.task)
        records = self.pack(
            task, options=config.options, split=config.split, skip_bad=config.skip_bad
        )
        if records.fingerprint != config.records:
            LOG.warning(
                "The raw files of %s have changed since, so the scores may differ.", task.name
            )
        from tfpipe.workflows import rerun

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

    def _published(self, task: Task, made: Mapping[str, Any]) -> Version:
        return Version(Path(made["path"]), task=task, project=self)


def serve(
    *versions: str,
    saved_models: str | Path = "saved_models",
    host: str = "127.0.0.1",
    port: int = 8501,
    grpc_port: int | None = None,
    token: str = "",
    runtime: str = "savedmodel",
    workers: int = 1,
    poll_s: float = 1.0,
    limits: Limits | None = None,
    started: Callable[[dict[str, Any]], None] = lambda address: None,
) -> None:
    """Serves versions over HTTP and gRPC as TensorFlow Serving does, until it is interrupted.

    Args:
      versions: each TASK, TASK/MODEL or TASK/MODEL/N; none for every task with a version.
      saved_models: folder of saved versions.
      host: address to listen on.
      port: port to listen on; 0 for any free one.
      grpc_port: port for gRPC, or None.
      token: bearer token required from clients; "" for none.
      runtime: "savedmodel", "openvino", "onnx", "litert", or "auto" for the fastest.
      workers: processes that share the port.
      poll_s: seconds between looks for new versions.
      limits: what requests may cost; None for the usual limits.
      started: called with the address and what is served, once requests are answered.

    Raises:
      UserError: a name means nothing, nothing can be served, or the port is taken.
    """
    from tfpipe.serving import sockets
    from tfpipe.serving.config import Endpoint, ServerConfig
    from tfpipe.serving.limits import Limits
    from tfpipe.serving.runtimes import available

    available.check(runtime)
    listener = sockets.bind(host, port)  # before TensorFlow, which takes seconds to import
    limits = limits or Limits()
    config = ServerConfig(list(versions), Path(saved_models), runtime, poll_s)
    endpoint = Endpoint(host, grpc_port, token)
    if workers > 1:
        from tfpipe.serving import process_pool

        pool = process_pool.ServerPool(
            config, listener, endpoint=endpoint, limits=limits, size=workers
        )
        pool.run(started)
        return
    start_tensorflow()
    from tfpipe.serving import server

    server.run(config, listener, endpoint=endpoint, limits=limits, started=started)


def examine_machine() -> dict[str, str]:
    """Returns what this machine has: versions, processor, threads, GPU, precision."""
    start_tensorflow()
    from tfpipe.base import hardware

    return hardware.examine()


def _task(task: Task | str) -> Task:
    return load_task(task) if isinstance(task, str) else task


def _settings(options: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in (options or {}).items())


def _tfpipe_version() -> str:
    import tfpipe

    return tfpipe.__version__
