"""Results of a project's work: records, comparisons, explorations, inspections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from tfpipe.data.manifest import RecordManifest
    from tfpipe.review.inspection_report import InspectionResult
    from tfpipe.review.label_exchange import LabelExport, LabelImport
    from tfpipe.tasks.task import Task
    from tfpipe.version import Version
    from tfpipe.workspace import Workspace


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

    def plot_examples(self, split: str = "train", *, per_class: int = 6, seed: int = 0) -> Figure:
        """Returns a row of example images for each class, from as many groups as there are.

        Args:
          split: "train", "validation" or "test".
          per_class: images of a class, at most.
          seed: random seed of the choice.

        Raises:
          UserError: the records have no such split.
        """
        from tfpipe.base.tensorflow import start_tensorflow

        start_tensorflow()
        from tfpipe.report import example_sheet

        return example_sheet.draw(
            self.path, manifest=self.manifest, split=split, per_class=per_class, seed=seed
        )

    def _repr_html_(self) -> str:
        import pandas as pd

        return pd.DataFrame(self.manifest.counts).to_html()


@dataclass(frozen=True)
class Labels:
    """A task's labels: those of its source, with reviewers' decisions in their place.

    Attributes:
      task: the task.
      records: folder of its packed records.
      raw: its raw folder, where decisions are saved.
      workspace: the workspace that it belongs to.
    """

    task: Task
    records: Path
    raw: Path
    workspace: Workspace

    def export(self, format: str, out: str | Path) -> LabelExport:
        """Writes the images and their labels for an annotation tool.

        Args:
          format: "cvat", "label-studio", "coco" or "ecotaxa".
          out: the folder, which must not exist or be empty; of "ecotaxa" a .zip.

        Raises:
          UserError: nothing is packed, or the task has no labels of this format.
        """
        from tfpipe.base.tensorflow import start_tensorflow

        start_tensorflow()
        from tfpipe.review import label_exchange

        with self.workspace.reporting() as report:
            return label_exchange.export_labels(
                self.task, format, Path(out), records=self.records, raw=self.raw, report=report
            )

    def queue(
        self, out: str | Path, *, model: str | None = None, number: int | None = None
    ) -> dict[str, Any]:
        """Writes the queue of a review as a table, for FiftyOne, cleanlab or a spreadsheet.

        A row is an image, the most helpful first: `filepath` of its PNG in the folder beside, key,
        split, group, label, prediction, uncertainty, novelty, `label_quality` (1 where the label is
        not suspected) and `suggested_label` by cleanlab, and a probability for each class.

        Args:
          out: the .csv to write.
          model: name of the model; None for that of the version written last.
          number: the version's number; None for the newest.

        Returns:
          {"path", "model", "version", "images", "notes"}.

        Raises:
          UserError: the task is reviewed in whole photos, or there is no classifier.
        """
        from tfpipe.review import run

        with self.workspace.reporting() as report:
            return run.write_queue(
                self.task,
                Path(out),
                models=self.workspace.saved_models,
                records=self.records,
                raw=self.raw,
                model=model,
                number=number,
                report=report,
            )

    def read(
        self,
        file: str | Path,
        *,
        who: str | None = None,
        all_checked: bool = False,
        allow_empty: bool = False,
    ) -> LabelImport:
        """Adds a decision for each label that an annotation tool has changed.

        Args:
          file: .xml of CVAT, .json of Label Studio, or .tsv of EcoTaxa.
          who: the reviewer; None for the user.
          all_checked: whether labels that were not changed were checked, too.
          allow_empty: whether a photo without boxes in the file loses all its spans.

        Raises:
          UserError: the file is of another task, or not as the tool writes it. Then no decision is
            added.
        """
        from tfpipe.base.tensorflow import start_tensorflow

        start_tensorflow()
        from tfpipe.review import label_exchange

        return label_exchange.import_labels(
            self.task,
            Path(file),
            records=self.records,
            raw=self.raw,
            who=who,
            all_checked=all_checked,
            allow_empty=allow_empty,
        )


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
    """What an exploration wrote.

    Attributes:
      path: the page, explore.html; of new images by their embeddings map.csv.
      summary: numbers of images, clusters and queued images, the score that ranks the queue, notes.
    """

    path: Path
    summary: Mapping[str, Any]

    @property
    def map(self) -> pd.DataFrame:
        """A row for each image: place on the map, cluster, novelty scores."""
        from tfpipe.explore import page

        return page.read_map(self.path.with_name("map.csv"))

    def plot_map(self) -> Figure:
        """Returns the map by class, and beside it by cluster."""
        from tfpipe.explore import page

        return page.map_figure(self.map)

    @property
    def queue(self) -> pd.DataFrame:
        """The images to look at first."""
        from tfpipe.base import tables

        names = {"key", "split", "group", "label", "predicted"}
        names |= {"keys_of_copies", "nearest_labelled", "nearest_labels"}
        return tables.read_csv(self.path.with_name("queue.csv"), text=names)


@dataclass(frozen=True)
class Adaptation:
    """New images that were drawn to be labelled, and the version that is adapted to them.

    Attributes:
      path: folder of the drawn images, the predictions and the answers.
      version: the version that is adapted.
      workspace: the workspace that it belongs to.
    """

    path: Path
    version: Version
    workspace: Workspace

    @property
    def sample(self) -> pd.DataFrame:
        """A row for each drawn image, in the order of the page: image, key, group."""
        return _drawn(self.path).sample

    def serve(
        self,
        *,
        judge: str | None = None,
        port: int = 8502,
        started: Callable[[dict[str, Any]], None] = lambda page: None,
    ) -> None:
        """Serves the page on which a person labels the images; arguments as `Inspection.serve`."""
        from tfpipe.review import run

        run.inspect(_drawn(self.path), judge=judge, port=port, started=started)

    def train(
        self,
        *,
        unlabelled: Sequence[str] = (),
        epochs: int | None = None,
        force: bool = False,
        seed: int | None = None,
    ) -> AdaptedVersion:
        """Trains the version on with the labels so far; publishes it if it has become better.

        Args:
          unlabelled: "prior-shift", "batch-norm" or both: what is fitted to all new images without
            their labels, in place of training. Labels of the images that are kept out judge it.
          epochs: maximum epochs; None for the version's own.
          force: whether to publish it anyhow.
          seed: random seed; None for the version's own.

        Raises:
          RetrainingRefused: it is not better on the new images that were kept out, or worse at
            home. Nothing was published.
          UserError: there are too few labels.
        """
        from tfpipe.review import adaptation_sample
        from tfpipe.workflows import adapt
        from tfpipe.workflows.retrain import RetrainingPlan

        task, version = self.version.task, self.version
        labels = adaptation_sample.labels_of(
            _drawn(self.path), task, version.card, only_test=bool(unlabelled)
        )
        with self.workspace.reporting() as report:
            made = adapt.adapt(
                task,
                version.path,
                raw=self.workspace.raw_folder(task),
                records=self.workspace.fetch_records(task),
                added=labels.added,
                folder=self.path,
                plan=RetrainingPlan(version.path, epochs, force, seed),
                unlabelled=unlabelled,
                report=report,
            )
        published = type(version)(Path(made["path"]), task=task, workspace=self.workspace)
        return AdaptedVersion(published, tuple(made["gain"].in_words()))


@dataclass(frozen=True)
class AdaptedVersion:
    """A published version that was adapted, and how it compares with the one before.

    Attributes:
      version: the version.
      sentences: how it compares, on new images and at home.
    """

    version: Version
    sentences: tuple[str, ...]


def _drawn(path: Path) -> Any:
    from tfpipe.review import inspection_sample

    return inspection_sample.open_folder(path)


@dataclass(frozen=True)
class Inspection:
    """New images that were drawn by predicted class, for people to judge without the predictions.

    Attributes:
      path: folder of the drawn images, the predictions, the answers and the report.
      version: the version that predicted them.
    """

    path: Path
    version: Version

    @property
    def sample(self) -> pd.DataFrame:
        """A row for each drawn image, in the order of the page: image, key, group."""
        return self._folder.sample

    def serve(
        self,
        *,
        judge: str | None = None,
        port: int = 8502,
        started: Callable[[dict[str, Any]], None] = lambda page: None,
    ) -> None:
        """Serves the page to one judge until it is interrupted.

        Args:
          judge: name of the judge, whose answers have a file of their own; None for the user's.
          port: port to listen on; 0 for any free one.
          started: called with the page's address once it can be opened.
        """
        from tfpipe.review import run

        run.inspect(self._folder, judge=judge, port=port, started=started)

    def report(self) -> InspectionReport:
        """Writes the report of all answers so far.

        Raises:
          UserError: nobody has answered yet.
        """
        from tfpipe.review import inspection_report

        folder = self._folder
        result = inspection_report.evaluate(folder, self.version.path, self.version.card)
        return InspectionReport(inspection_report.write(folder, result), result)

    @property
    def _folder(self) -> Any:
        from tfpipe.review import inspection_sample

        return inspection_sample.open_folder(self.path)


@dataclass(frozen=True)
class InspectionReport:
    """What people's answers say of a version's predictions of new images.

    Attributes:
      path: the page, inspection.html; its tables are beside it as CSV.
      result: agreement, precision of each class, corrected counts, and kappa of judges, as tables
        with intervals; the sentences and notes of the page.
    """

    path: Path
    result: InspectionResult
