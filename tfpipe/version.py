"""A saved version as an object: predict, embed, report, metrics, figures."""

import html
import logging
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tfpipe.base import extras, files
from tfpipe.base.choose import listed
from tfpipe.base.errors import UserError
from tfpipe.base.progress import silent
from tfpipe.base.tensorflow import start_tensorflow

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from tfpipe.registry.card import VersionCard
    from tfpipe.registry.load import SavedPredictor
    from tfpipe.serving.runtimes.model_files import ModelExport
    from tfpipe.tasks.task import Task
    from tfpipe.workspace import Workspace

LOG = logging.getLogger(__name__)
CARD = Path("assets.extra", "card.json")  # in a version's folder


@dataclass(frozen=True)
class Prediction:
    """What a prediction wrote to disk.

    Attributes:
      path: the table.
      rows: rows of the table.
      files: raw files that were predicted.
      skipped: raw file -> why it could not be read.
      notes: what else was noticed, one sentence each.
      details: further numbers, such as counts of classes.
    """

    path: Path
    rows: int
    files: int
    skipped: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """A version's report: one HTML file, which Jupyter shows.

    Attributes:
      path: the file.
    """

    path: Path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        return f'<iframe srcdoc="{page}" width="100%" height="700" style="border:0"></iframe>'


class Version:
    """A saved version of a model: numbered, checked, ready to predict.

    Args:
      path: the version's folder, saved_models/<task>/<model>/<number>, or a copy of it anywhere:
        its card holds what a prediction needs, and the raw folder need not be there.
      task: its task; None for that of its card.
      workspace: the workspace that it belongs to; None for none, without progress.

    Attributes:
      path: the version's folder.
      number: its number.
      model: name of the model.
      task: its task.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        task: "Task | None" = None,
        workspace: "Workspace | None" = None,
    ):
        self.path = Path(path)
        self._is_own_task = task is None  # which cannot differ from the version
        if task is None:
            from tfpipe.tasks import catalog

            task = catalog.of_version(self.card.task, self.card.data.origin)
            self.number, self.model = self.card.version, self.card.model
        else:
            self.number, self.model = int(self.path.name), self.path.parent.name
        self.task = task.for_model(self.model)
        self._workspace = workspace

    @cached_property
    def card(self) -> "VersionCard":
        """What the version is: hyperparameters, classes, data, metrics, thresholds."""
        start_tensorflow()
        from tfpipe.registry import store

        return store.read_card(self.path)

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Metrics by split and name, such as `metrics["test"]["average_precision"]`."""
        return self.card.metrics

    @cached_property
    def predictor(self) -> "SavedPredictor":
        """The loaded model; its files are checked against the card first."""
        start_tensorflow()
        from tfpipe.registry import load

        return load.open_version(self.path)

    def predict_proba(
        self, images: "np.ndarray | None" = None, columns: "np.ndarray | None" = None
    ) -> "np.ndarray":
        """Returns probabilities [n, classes] float32.

        Args:
          images: [n, height, width, channels], raw pixels of the task's shape and dtype.
          columns: [n, columns] float32, for a model that takes columns.
        """
        return self.predictor.predict_proba(images, columns)

    def embed(
        self, images: "np.ndarray | None" = None, columns: "np.ndarray | None" = None
    ) -> "np.ndarray":
        """Returns embeddings [n, units] float32; arguments as of `predict_proba`."""
        return self.predictor.embed(images, columns)

    def keras_model(self) -> "keras.Model":
        """Returns the Keras model, to look into or to train on.

        Raises:
          UserError: the version is of boosted trees.
        """
        start_tensorflow()
        from tfpipe.registry import load

        return load.read_model(self.path)

    @overload
    def predict(
        self,
        files: Iterable[str | Path],
        *,
        out: None = None,
        table: Path | None = None,
        windows: Path | None = None,
        inference_mode: str | None = None,
        min_precision: float = 0.9,
        conformal: float = 0.0,
        min_sharpness: float = 0.0,
        embedding: bool = False,
        options: Mapping[str, Any] | None = None,
        runner: str | None = None,
        beam_options: Mapping[str, str | None] | None = None,
    ) -> "pd.DataFrame": ...

    @overload
    def predict(
        self,
        files: Iterable[str | Path],
        *,
        out: str | Path,
        table: Path | None = None,
        windows: Path | None = None,
        inference_mode: str | None = None,
        min_precision: float = 0.9,
        conformal: float = 0.0,
        min_sharpness: float = 0.0,
        embedding: bool = False,
        options: Mapping[str, Any] | None = None,
        runner: str | None = None,
        beam_options: Mapping[str, str | None] | None = None,
    ) -> Prediction: ...

    def predict(
        self,
        files: Iterable[str | Path],
        *,
        out: str | Path | None = None,
        table: Path | None = None,
        windows: Path | None = None,
        inference_mode: str | None = None,
        min_precision: float = 0.9,
        conformal: float = 0.0,
        min_sharpness: float = 0.0,
        embedding: bool = False,
        options: Mapping[str, Any] | None = None,
        runner: str | None = None,
        beam_options: Mapping[str, str | None] | None = None,
    ) -> "pd.DataFrame | Prediction":
        """Predicts new raw files.

        Args:
          files: raw files, or folders of them.
          out: table to write, .csv or .parquet; images go to the folder beside it. Memory does not
            grow with the number of files, and a stopped run resumes. None returns the table.
          table: table that describes the files, such as photos.csv.
          windows: table of every window, for tasks that slide a window along whole files.
          inference_mode: how windows are slid, one of "windows", "intervals" and "rows"; None for
            the version's own.
          min_precision: precision below which a class is not named (abstain).
          conformal: share of images whose set of classes may lack the true one; 0 for no sets.
          min_sharpness: images that are less sharp are marked as blurred and not counted.
          embedding: whether the table holds embeddings, too.
          options: task options by name, over those that the version was trained with.
          runner: runner of Apache Beam whose workers predict the files, such as "DaskRunner"; None
            for this process. All of them need the files, the version and `out` under one path.
          beam_options: of its pipeline, by name; None for those without a value.

        Returns:
          The table, with the files that could not be read in `attrs["skipped"]` and the notes in
          `attrs["notes"]`; or with `out` a `Prediction`.

        Raises:
          UserError: no file could be read, or the version cannot predict files of this task.
        """
        arguments: dict[str, Any] = {
            "table": table,
            "windows": windows,
            "inference_mode": inference_mode,
            "min_precision": min_precision,
            "conformal": conformal,
            "min_sharpness": min_sharpness,
            "embedding": embedding,
            "options": options or {},
            "runner": runner,
            "beam_options": beam_options or {},
        }
        paths = [Path(files)] if isinstance(files, str | Path) else [Path(one) for one in files]
        if out is not None:
            return self._predict(paths, Path(out), **arguments)
        import pandas as pd

        with tempfile.TemporaryDirectory(prefix="tfpipe-") as folder:
            written = self._predict(paths, Path(folder) / "predictions.parquet", **arguments)
            frame = pd.read_parquet(written.path)
        frame.attrs = {"skipped": dict(written.skipped), "notes": list(written.notes)}
        for name, reason in written.skipped.items():
            LOG.warning("%s was skipped: %s", name, reason)
        return frame

    def _predict(
        self,
        files: list[Path],
        out: Path,
        *,
        table: Path | None,
        windows: Path | None,
        inference_mode: str | None,
        min_precision: float,
        conformal: float,
        min_sharpness: float,
        embedding: bool,
        options: Mapping[str, Any],
        runner: str | None,
        beam_options: Mapping[str, str | None],
    ) -> Prediction:
        task, version = self.task, self.path
        from tfpipe.tasks.task import check_inference_mode

        check_inference_mode(task, inference_mode)
        self._check_task()
        if runner is not None:
            extras.require_beam()
            # Workers have other working folders.
            files, out = [path.absolute() for path in files], out.absolute()
            version = version.absolute()
        start_tensorflow()
        from tfpipe.inference import run, sources
        from tfpipe.inference.confidence import PredictionOptions
        from tfpipe.inference.request import PredictionRequest

        predict_sources: sources.SourceRunner = sources.predict_here
        if runner is not None:
            from tfpipe.inference import beam_predict  # imports Apache Beam, an extra
            from tfpipe.registry import stored_versions

            stored_versions.complete(version)  # else each worker would fetch it

            predict_sources = beam_predict.source_runner(runner, beam_options)

        with self._workspace.reporting() if self._workspace else nullcontext(silent) as report:
            request = PredictionRequest(
                task,
                version,
                files,
                out,
                table=table,
                settings=tuple(f"{name}={value}" for name, value in options.items()),
                run=predict_sources,
                report=report,
            )
            done = run.predict(
                request,
                windows=windows,
                inference_mode=inference_mode,
                prediction_options=PredictionOptions(
                    min_precision, embedding, conformal, min_sharpness
                ),
            )
        return Prediction(out, done.rows, done.files, done.bad, done.notes, done.summary)

    def _check_task(self) -> None:
        """Raises a UserError if the version is of another folder, or has other classes."""
        if self._is_own_task:
            return
        task, origin, classes = self.task, self.card.data.origin, self.card.classes
        way = f"predict by the version's own folder ({self.path}) in place of the task"
        name = f"Version {self.number} of {self.model}"
        is_folder = task.raw_files.folder is not None and bool(task.raw_files.origin)
        if is_folder and origin not in ("", task.raw_files.origin) and Path(origin).is_dir():
            raise UserError(
                f"{name} was trained on {origin}, not on {task.raw_files.origin}. Train a version "
                f"on that, or {way}."
            )
        records = self._workspace.records_folder(task) if self._workspace else None
        if is_folder and classes and records and (records / "manifest.json").is_file():
            from tfpipe.data import manifest

            now = manifest.read(records).classes
            if set(now) != set(classes):
                raise UserError(
                    f"{name} has the classes {listed(classes)}, but the records of {task.name} "
                    f"have {listed(now)}. Train a new version, or {way}."
                )
        strangers = [one for one in classes if task.classes and one not in task.classes]
        if strangers:
            raise UserError(
                f"{name} has the class {strangers[0]!r}, which the task {task.name} does not have: "
                f"{listed(task.classes)}. Train a new version, or {way}."
            )

    def report(self) -> Report:
        """Writes the version's report anew from its card, predictions and records.

        Raises:
          UserError: the version belongs to no workspace, whose records a report needs.
        """
        if self._workspace is None:
            raise UserError(
                "A report needs the records. Get the version by Project.version of its task."
            )
        start_tensorflow()
        from tfpipe.registry import stored_versions
        from tfpipe.report import write

        stored_versions.complete(self.path)
        page = write.write(self.path, self._workspace.fetch_records(self.task))
        stored_versions.push_file(page)
        return Report(page)

    def export(self, format: str, out: str | Path, *, license: str = "") -> "ModelExport":
        """Writes the model into a new folder for other tools, with its card and classes.

        Args:
          format: "onnx", "litert", "openvino" or "keras"; or "hf" for a folder that
            `huggingface_hub` uploads.
          out: the folder, which must not exist or be empty.
          license: identifier of the licence in the card of an hf folder, such as "cc-by-4.0".

        Raises:
          UserError: a package is missing, the version is of boosted trees, or the file does not
            compute what the version does. Then there is no folder.
        """
        start_tensorflow()
        from tfpipe.serving.runtimes import model_files

        return model_files.export(self.path, format, Path(out), license=license)

    def __repr__(self) -> str:
        return f"Version({self.task.name}/{self.model}/{self.number})"

    def plot_depth(self, table: "pd.DataFrame") -> "Figure":
        """Returns the layers of a table along depth, each as high as it is probable.

        Args:
          table: what `predict` returns for photos of cores.

        Raises:
          UserError: the table has no layers with depths.
        """
        start_tensorflow()
        from tfpipe.report import notebook

        return notebook.depth(table)

    def plot_confusion(self) -> "Figure":
        """Returns the confusion matrix of the test split.

        Raises:
          UserError: the version is an autoencoder, or its predictions are missing.
        """
        return self._notebook().confusion(self.path)

    def plot_calibration(self) -> "Figure":
        """Returns the reliability diagram of the test split, before and after calibration.

        Raises:
          UserError: the version was not calibrated, or its predictions are missing.
        """
        return self._notebook().reliability(self.path)

    def plot_shap(self, class_name: str | None = None) -> "Figure":
        """Returns what columns add to a class of boosted trees: a dot is a test image.

        Args:
          class_name: the class; None for the one to which columns add most.

        Raises:
          UserError: the version is a network, or has no such class.
        """
        return self._notebook().shap(self.path, class_name)

    def plot_map(self) -> "Figure":
        """Returns the map of the version's exploration, by class and by cluster.

        Raises:
          UserError: the version has not been explored.
        """
        from tfpipe.explore import page

        path = self.path.with_name(f"explore-{self.number}") / "map.csv"
        if not path.is_file():
            raise UserError(
                f"Version {self.number} of {self.model} has not been explored. Run tfpipe explore, "
                "or Project.explore, first."
            )
        return page.map_figure(page.read_map(path))

    def _notebook(self) -> Any:
        """Returns the module of figures, once the version's files are all here."""
        start_tensorflow()
        from tfpipe.registry import stored_versions
        from tfpipe.report import notebook

        stored_versions.complete(self.path)
        return notebook

    def _repr_html_(self) -> str:
        start_tensorflow()
        from tfpipe.report import notebook

        return str(notebook.summary(self.path, name=repr(self)))


def version_folder(path: str) -> Path | None:
    """Returns the folder of the version that a path means, if any: the newest one of a model's."""
    if (Path(path) / CARD).is_file():
        return Path(path)
    numbers = [Path(path) / str(number) for number in files.numbers_in(Path(path))]
    versions = [folder for folder in numbers if (folder / CARD).is_file()]
    return max(versions, key=lambda folder: int(folder.name), default=None)
