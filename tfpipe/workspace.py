"""A workspace: one folder of data and one of saved models, and what lies in them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfpipe.base import extras, storage
from tfpipe.base.errors import UserError
from tfpipe.base.progress import ProgressBar, Reporter, silent
from tfpipe.base.tensorflow import start_tensorflow
from tfpipe.results import Adaptation, Inspection, Labels, Records
from tfpipe.version import Version, version_folder

if TYPE_CHECKING:
    import pandas as pd

    from tfpipe.data.check import RawFilesCheck
    from tfpipe.data.config import PackingConfig
    from tfpipe.search.overview import SearchReport
    from tfpipe.tasks.splits import PackedSplits, SplitConfig
    from tfpipe.tasks.task import Task


LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workspace:
    """One folder of data and one of saved models: records, versions and searches.

    Attributes:
      data: folder of raw/<task> and records/<task>, or its URL in object storage, such as
        s3://bucket/data; then it becomes the folder of its local copy.
      saved_models: folder of saved versions, or its URL.
      seed: random seed of samples, searches and trainings.
      progress: whether progress is shown, or a `Reporter` that receives it.
    """

    data: Path = Path("data")
    saved_models: Path = Path("saved_models")
    seed: int = 0
    progress: bool | Reporter = True

    def __post_init__(self) -> None:
        for name in ("data", "saved_models"):
            object.__setattr__(self, name, storage.local_folder(getattr(self, name)))

    def resolve(self, task: Task | str) -> Task:
        """Returns a task by the name that it has here: no two folders of images share one."""
        from tfpipe.tasks import ownership

        task = load_task(task) if isinstance(task, str) else task
        if task.raw_files.origin and task.raw_files.folder is not None:
            for name in dict.fromkeys((task.name, ownership.own_name(task))):
                self.fetch_records(replace(task, name=name))
                self.fetch_versions(replace(task, name=name))
        return ownership.with_own_name(task, data=self.data, models=self.saved_models)

    def raw_folder(self, task: Task) -> Path:
        """Returns where a task's raw files lie."""
        return task.raw_files.folder or self.data / "raw" / task.name

    def records_folder(self, task: Task) -> Path:
        """Returns where a task's packed records lie; each view of its raw files has its own."""
        return self.data / "records" / "-".join(filter(None, (task.name, task.view)))

    def fetch_records(self, task: Task) -> Path:
        """Returns where a task's records lie, once they are as object storage has them."""
        folder = self.records_folder(task)
        if storage.storage_of(folder):
            start_tensorflow()
            from tfpipe.data import stored_records

            with self.reporting() as report:
                stored_records.fetch(folder, report=report)
        return folder

    def fetch_versions(self, task: Task, *, publishes: bool = False) -> None:
        """Fetches what object storage has of a task's versions.

        Args:
          task: the task.
          publishes: whether a version is to be published: it must be possible.
        """
        if storage.storage_of(self.saved_models):
            start_tensorflow()
            from tfpipe.registry import stored_versions

            stored_versions.fetch(self.saved_models, task.name)
            storage.push_rest(self.saved_models / task.name)
            if publishes:
                storage.check_writable(self.saved_models)

    def fetch(self, task: Task) -> None:
        """Fetches all that object storage has of a task, before a version of it is published."""
        self.fetch_versions(task, publishes=True)
        self._fetch_raw(task)
        for view in {task.view, ""}:
            self.fetch_records(replace(task, view=view))

    def _fetch_raw(self, task: Task) -> Path:
        raw = self.raw_folder(task)
        with self.reporting() as report:
            storage.fetch(raw, report=report)
        return raw

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

    def sample(self, task: Task | str, **sizes: float | str | None) -> dict[str, Any]:
        """Draws a small raw data set in the task's own format, with the truth beside it.

        Args:
          task: the task, a built-in one.
          sizes: numbers such as photos=24; `tfpipe sample --help` lists them.

        Returns:
          Counts of what was drawn.
        """
        from tfpipe.tasks import samples

        name = task if isinstance(task, str) else task.name
        raw = self.data / "raw" / name
        storage.fetch(raw)
        with storage.pushing(raw):
            return samples.draw(name, raw, seed=self.seed, **sizes)

    def pack(
        self,
        task: Task | str,
        *,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
        skip_bad: int = 0,
        shards: int | str | None = None,
        runner: str | None = None,
        beam_options: Mapping[str, str | None] | None = None,
    ) -> Records:
        """Packs raw files into records, where they have changed. A stopped run resumes.

        Args:
          task: the task, or its name.
          options: task options by name; `tfpipe tasks NAME` lists them.
          split: how groups are assigned to splits.
          skip_bad: unreadable files that may be left out.
          shards: number of shards of each split, or "auto" for 100 to 200 MB a shard; None for as
            before, which is four sources a shard where nothing is packed yet.
          runner: runner of Apache Beam whose workers read the files, such as "DaskRunner"; None
            for this process.
          beam_options: of its pipeline, by name; None for those without a value.

        Raises:
          UserError: raw files are missing or wrong, near-copies lie in two splits, or Apache Beam
            is not installed.
        """
        task = self.resolve(task)
        from tfpipe.data import config, unchanged
        from tfpipe.tasks.options import parse_options
        from tfpipe.tasks.splits import SplitConfig

        if runner is not None:
            extras.require_beam()
        how: dict[str, Any] = {
            "options": parse_options(task, option_settings(options)),
            "split": split or SplitConfig(),
            "skip_bad": skip_bad,
            "shards": config.sharding(shards),
        }
        raw, folder = self.raw_folder(task), self.records_folder(task)
        state = unchanged.state_of(
            task, raw, folder, versions=self.saved_models / task.name, how=how
        )
        if packed := unchanged.packed(folder, state):
            return Records(folder, packed)
        start_tensorflow()
        from tfpipe.data import pack, stored_records

        self._fetch_raw(task)
        self.fetch_records(task)
        self.fetch_versions(task)
        engine = pack.THIS_PROCESS
        if runner is not None:
            from tfpipe.data import beam_pack  # imports Apache Beam, an extra

            raw, folder = raw.absolute(), folder.absolute()  # workers have other working folders
            engine = beam_pack.packing_engine(runner, beam_options or {}, folder)
        with self.reporting() as report:
            before = self._splits_before(task, how["split"])
            manifest = stored_records.pack_and_publish(
                task, raw, folder, before=before, engine=engine, report=report, **how
            )
        unchanged.store(folder, state, manifest)
        return Records(self.records_folder(task), manifest)

    def check(
        self,
        task: Task | str,
        *,
        options: Mapping[str, Any] | None = None,
        split: SplitConfig | None = None,
    ) -> RawFilesCheck:
        """Reads all raw files of a task without packing; returns all that is wrong with them.

        Near-copies in two splits are not looked for; packing does that.

        Args:
          task: the task, or its name.
          options: task options by name; `tfpipe tasks NAME` lists them.
          split: how groups would be assigned to splits.

        Raises:
          UserError: the task, an option or the raw folder does not exist.
        """
        task = self.resolve(task)
        from tfpipe.tasks.options import parse_options
        from tfpipe.tasks.splits import SplitConfig

        values = parse_options(task, option_settings(options))
        start_tensorflow()
        from tfpipe.data import check

        raw, split = self._fetch_raw(task), split or SplitConfig()
        self.fetch_versions(task)
        before = self._splits_before(task, split)
        with self.reporting() as report:
            return check.check(task, raw, options=values, split=split, before=before, report=report)

    def _splits_before(self, task: Task, split: SplitConfig) -> PackedSplits:
        """Returns the splits in which groups stay where a task has no records yet.

        They are those of the version that was published last. Of another view of a task, those of
        the records of the task's own images come first, and hold against its own records.
        """
        from tfpipe.data import pack
        from tfpipe.registry import previous_version

        newest = previous_version.newest_splits(self.saved_models / task.name, split)
        if task.view:
            packed = pack.packed_splits(self.fetch_records(replace(task, view="")), split)
            if packed.by_source:
                return replace(packed, by_checksum=newest.by_checksum, are_binding=True)
        return newest

    def records(self, task: Task | str) -> Records:
        """Returns a task's packed records as they are.

        Raises:
          UserError: nothing is packed.
        """
        folder = self.fetch_records(self.resolve(task))
        start_tensorflow()
        from tfpipe.data import manifest

        return Records(folder, manifest.read(folder))

    def labels(self, task: Task | str) -> Labels:
        """Returns a task's labels, to be written for annotation tools and read back."""
        task = self.resolve(task)
        return Labels(task, self.fetch_records(task), self.raw_folder(task), self)

    def repack(self, task: Task | str, *, shards: int | str) -> Records:
        """Divides a task's records into other shards, without its raw files.

        The old shards stay until the new ones are whole. The fingerprint stays.

        Args:
          task: the task, or its name.
          shards: number of shards of each split, or "auto" for 100 to 200 MB a shard.

        Raises:
          UserError: nothing is packed, or the records are damaged or being packed.
        """
        from tfpipe.data import config

        sharding = config.sharding(shards)
        folder = self.fetch_records(self.resolve(task))
        storage.check_writable(folder)
        start_tensorflow()
        from tfpipe.data import repack, stored_records

        with self.reporting() as report:
            manifest = repack.repack(folder, sharding, report=report)
            stored_records.publish(folder, report=report)
        return Records(folder, manifest)

    def verify(self, task: Task | str) -> Records:
        """Checks every record of a task against the manifest.

        Raises:
          UserError: a shard is missing or damaged; the sentence names it.
        """
        folder = self.fetch_records(self.resolve(task))
        start_tensorflow()
        from tfpipe.data import manifest

        return Records(folder, manifest.trusted(folder))

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
        task = self.resolve(task)
        start_tensorflow()
        from tfpipe.registry import store
        from tfpipe.tasks import catalog

        self.fetch_versions(task)
        folder = store.find(
            self.saved_models,
            task=task.name,
            model=model,
            version=number,
            kinds=kinds,
            typed=catalog.origin_of(task),
        )
        return Version(folder, task=task, workspace=self)

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
          task: the task, its name, or the folder of a version, wherever it was copied to.
          model: name of the model; None for that of the version written last that predicts files.
          number: the version's number; None for the newest.
          inference_mode: checked before anything is loaded.
        """
        folder = version_folder(task) if isinstance(task, str) else None
        if folder:
            return self._version_of_folder(folder, model, number)
        task = self.resolve(task)
        from tfpipe.tasks.task import check_inference_mode

        check_inference_mode(task, inference_mode)
        start_tensorflow()
        from tfpipe.inference import images

        kinds = ("classifier",) if task.whole_file else images.KINDS
        return self.version(task, model=model, number=number, kinds=kinds)

    def inspect(
        self,
        task: Task | str,
        files: Sequence[str | Path] = (),
        *,
        per_class: int | None = None,
        seed: int | None = None,
        model: str | None = None,
        number: int | None = None,
        options: Mapping[str, Any] | None = None,
        out: str | Path | None = None,
        draws: bool = True,
    ) -> Inspection:
        """Predicts new files and draws images of each predicted class, for people to judge.

        An inspection that has been drawn is opened as it is. `Inspection.serve` shows the images
        without their predictions, and `Inspection.report` says how far people agree.

        Args:
          task: the task, its name, or the folder of a version.
          files: new raw files, or folders of them; () for the version's last inspection.
          per_class: images to draw of each predicted class; None for 50, or as drawn.
          seed: random seed of the draw; None for the project's, or as drawn.
          model: name of the model; None for that of the version written last.
          number: the version's number; None for the newest.
          options: task options by name, over those that the version was trained with.
          out: folder of the inspection; None for inspect-N-NAME beside version N, by the name of
            the first file.
          draws: whether images are drawn where that has not been done.

        Raises:
          UserError: there is none to open, another one is in the folder, or the task predicts whole
            files.
        """
        version = self.predictor(task, model=model, number=number)
        start_tensorflow()
        from tfpipe.review import inspection_run

        with self.reporting() as report:
            folder = inspection_run.open_or_draw(
                version.task,
                version.path,
                [Path(file) for file in files],
                predict=version.predict,
                per_class=per_class,
                seed=seed,
                default_seed=self.seed,
                options=dict(options or {}),
                out=Path(out) if out else None,
                draws=draws,
                report=report,
            )
        return Inspection(folder.path, version)

    def adapt(
        self,
        task: Task | str,
        files: Sequence[str | Path],
        *,
        labels: int | None = None,
        seed: int | None = None,
        model: str | None = None,
        number: int | None = None,
        options: Mapping[str, Any] | None = None,
        out: str | Path | None = None,
    ) -> Adaptation:
        """Draws new images to be labelled, to which a version is to be adapted.

        What has been drawn is opened as it is. `Adaptation.serve` shows the images to be labelled,
        and `Adaptation.train` goes on from the version with these labels.

        Args:
          task: the task or its name.
          files: new raw files, or folders of them, of two groups at least.
          labels: images to label; None for 256, or as drawn.
          seed: random seed of the draw; None for the project's, or as drawn.
          model: name of the model; None for that of the version written last.
          number: the version's number; None for the newest.
          options: task options by name, over those that the version was trained with.
          out: folder of the adaptation; None for adapt-N-NAME beside version N, by the name of the
            first file.

        Raises:
          UserError: another draw is in the folder, the images are of one group, or the task
            predicts whole files.
        """
        task = self.resolve(task)
        start_tensorflow()
        version = self.version(task, model=model, number=number, kinds=("classifier",))
        from tfpipe.registry import load
        from tfpipe.review import adaptation_sample

        load.check_kind(version.path)
        with self.reporting() as report:
            folder = adaptation_sample.open_or_draw(
                version.task,
                version.path,
                [Path(file) for file in files],
                predict=version.predict,
                labels=labels,
                seed=seed,
                default_seed=self.seed,
                options=dict(options or {}),
                out=Path(out) if out else None,
                raw=self.raw_folder(task),
                report=report,
            )
        return Adaptation(folder.path, version, self)

    def _version_of_folder(self, folder: Path, model: str | None, number: int | None) -> Version:
        version = Version(folder, workspace=self)
        if model not in (None, version.model) or number not in (None, version.number):
            raise UserError(
                f"{folder} is version {version.number} of {version.model}. Leave out --model and "
                "--version, or name the task instead."
            )
        return version

    def versions(self, task: Task | str) -> pd.DataFrame:
        """Returns a row for each version: number, served, metric, size, speed, date, data."""
        import pandas as pd

        return pd.DataFrame(self.version_rows(task))

    def version_rows(self, task: Task | str) -> list[dict[str, Any]]:
        """Returns what `versions` returns, as dictionaries."""
        task = self.resolve(task)
        self.version(task)  # refuses a task without versions
        from tfpipe.registry import history

        return history.table(self.saved_models, task=task.name)

    def rollback(self, task: Task | str, number: int, *, model: str | None = None) -> Version:
        """Publishes a copy of an earlier version as the next one, so that it is served again."""
        task = self.resolve(task)
        self.fetch_versions(task, publishes=True)
        earlier = self.version(task, model=model, number=number)
        from tfpipe.registry import history

        return Version(history.rollback(earlier.path), task=task, workspace=self)

    def searches(self, task: Task | str) -> pd.DataFrame:
        """Returns a row for each search of a task: model, algorithm, state, trials, best score."""
        import pandas as pd

        from tfpipe.search import results

        folder = self.saved_models / self.resolve(task).name
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
        from tfpipe.search import overview
        from tfpipe.tasks import catalog

        task = self.resolve(task)
        return overview.report_of(
            self.saved_models / task.name,
            task=task.name,
            typed=catalog.origin_of(task),
            model=model,
            out=Path(out) if out else None,
        )

    def _published(self, task: Task, made: Mapping[str, Any]) -> Version:
        return Version(Path(made["path"]), task=task, workspace=self)

    def _packing(self, task: Task, packing: PackingConfig | None) -> dict[str, Any]:
        """Returns the arguments of `pack`, as given or as the packed records were made by.

        Another view of a task is packed as the task's own images are.
        """
        from tfpipe.data.config import PackingConfig
        from tfpipe.tasks.splits import SplitConfig

        packing = packing or PackingConfig()
        options, split, skip_bad = packing.options, packing.split, packing.skip_bad
        packed = self.fetch_records(replace(task, view=""))
        if task.view and not (packed / "manifest.json").is_file():
            packed = self.fetch_records(task)
        is_packed = (packed / "manifest.json").is_file()
        if is_packed and None in (options, split, skip_bad):
            start_tensorflow()
            from tfpipe.data import manifest as data_manifest

            manifest = data_manifest.read(packed)
            options = manifest.options if options is None else options
            split = split or SplitConfig(manifest.fractions, manifest.salt)
            skip_bad = manifest.unreadable_files if skip_bad is None else skip_bad
        return {
            "options": options or {},
            "split": split or SplitConfig(),
            "skip_bad": skip_bad or 0,
        }


def load_task(name: str | Path) -> Task:
    """Returns a task.

    Args:
      name: a built-in task, a folder of images, or a Python file with a TASK in it.

    Raises:
      UserError: there is no such task; the sentence names the nearest one.
    """
    from tfpipe.tasks import catalog

    return catalog.find(str(name))


def option_settings(options: Mapping[str, Any] | None) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in (options or {}).items())


def _tfpipe_version() -> str:
    import tfpipe

    return tfpipe.__version__
