"""Version card: what a saved version is, from what, how good, and by which files."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from tfpipe.base import json_dataclass
from tfpipe.base.errors import UserError
from tfpipe.data.manifest import RecordSummary
from tfpipe.evaluation.image_novelty import NoveltyStatistics
from tfpipe.models.spec import Spec
from tfpipe.registry import card_schema
from tfpipe.registry.card_schema import (
    Abstention,
    Calibration,
    Comparison,
    DriftHistogram,
    Finite,
    IntendedUse,
    Metrics,
    Mode,
    Parity,
    Speed,
)

CLASSIFIER, AUTOENCODER, BOOSTED_TREES = "classifier", "autoencoder", "boosted-trees"
KINDS = (CLASSIFIER, AUTOENCODER, BOOSTED_TREES)
REMEDY = "Restore the file from a copy, or train a new version."

# Keys that older releases wrote, and their names now. Nested keys are in RENAMED_INSIDE.
SCANS = {"scan": "windows", "scan-intervals": "intervals"}  # inference modes of older releases
RENAMED = {
    "scores": "metrics",
    "by_class": "class_metrics",
    "way": "inference_mode",
    "ways": "inference_modes",
    "quantity": "ordinal_target",
    "apart": "ambiguous",
    "begun_with": "initialized_from",
    "false_findings": "false_positive_kinds",
    "intervals": "confidence_intervals",
    "limits": "limitations",
    "bytes": "size_bytes",
}
RENAMED_INSIDE = {
    "spec": {"even_exposure": "per_image_standardization", "pads": "letterbox"},
    "intended_use": {"shown": "input", "answers": "classes"},
    "leak_check": {"near_copies": "near_duplicates"},
    "parity": {"pictures": "examples"},
    "random_split_scores": {"error_of_mean_picture": "error_of_mean_image"},
}
RENAMED_METRICS = {"error_of_mean_picture": "error_of_mean_image"}
RENAMED_PRECISION = {"right": "correct", "times": "predicted", "called": "most_probable"}


@dataclass(frozen=True, kw_only=True)
class VersionCard:
    """A version's card, `assets.extra/card.json`.

    Only `publish` gives a card its number; what it adds besides is marked (publish). A field that
    does not apply to a kind of model, or that an older release did not write, is empty.

    Attributes:
      task: name of the task.
      model: name of the model, as users type it.
      version: number of the version's folder; 0 before it is published (publish).
      kind: "classifier", "autoencoder" or "boosted-trees" (publish).
      inputs: "image", "columns" or both (publish).
      classes: names in label order; () for an autoencoder of unlabelled images.
      columns: names of the columns of the records; which the model reads if it takes "columns".
      hyperparameters: arguments of the model's builder, or of XGBoost.
      training: values of the training config, and "precision".
      options: the task's options.
      data: summary of the records that the version was trained on.
      spec: what the network was built from; None for boosted trees (publish).
      parameters: number of weights, or of leaves.
      ordinal_target: what the class names are values of, such as "z"; "" where they are names.
      ambiguous: metadata field that marks examples that nobody can label with certainty; "" for
        none.
      thresholds: of two classes "decision", and "confident" where whole files are evaluated.
      inference_mode: how whole files are predicted by default; "" for single images.
      inference_modes: mode -> its thresholds, and metrics of whole files by split.
      metrics: split -> metric -> value; None where it is not defined.
      class_metrics: split -> class -> metric -> value.
      confidence_intervals: metric -> 95 % interval of the test split, or None.
      random_split_scores: metric -> value by a split at random; {} where it was not measured.
      random_split_version: version with the same records, model and epochs that they were measured
        with; None for this one.
      random_split_grouped: metric -> value of that version's test split by whole groups.
      false_positive_kinds: what lies below false detections in test files -> how many.
      calibration: "temperature", "note", and calibration errors by split.
      abstention: "min_precision", thresholds by class, and what they give on the test split.
      history: metric -> value after each epoch.
      search: the best trial, and the plan of its search; {} without a search.
      initialized_from: version whose weights were the first; None for random weights.
      copied_from: version that this is a copy of, by a rollback.
      comparison: how it compares with the version before; {} where it was not compared.
      intended_use: "question", "input", "classes", "note".
      leak_check: how the split was made and checked.
      limitations: sentences to read before trusting the metrics.
      drift: histograms of the training split, see `evaluation.drift`.
      novelty: statistics of ordinary images; None where there are none, or too few.
      parity: how the exported model differs from the trained one (publish).
      speed: "one_ms", "batch_ms" and "batch", measured in a fresh process (publish).
      date: when it was exported, ISO 8601 in UTC (publish).
      size_bytes: of the model's files together (publish).
      hardware: processor, threads and GPU that it was made on (publish).
      python: version of Python (publish).
      packages: package -> version (publish).
      sha256: file of the version -> its SHA-256; these are checked before loading (publish).
    """

    task: str
    model: str
    version: int = 0
    kind: str = CLASSIFIER
    inputs: tuple[str, ...] = ("image",)
    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    data: RecordSummary = RecordSummary(fingerprint="")
    spec: Spec | None = None
    parameters: int | None = None
    ordinal_target: str = ""
    ambiguous: str = ""
    thresholds: dict[str, Finite] = field(default_factory=dict)
    inference_mode: str = ""
    inference_modes: Annotated[dict[str, dict[str, Any]], dict[str, Mode]] = field(
        default_factory=dict
    )
    metrics: Annotated[dict[str, dict[str, Any]], dict[str, Metrics]] = field(default_factory=dict)
    class_metrics: Annotated[
        dict[str, dict[str, dict[str, Any]]], dict[str, dict[str, Metrics]]
    ] = field(default_factory=dict)
    confidence_intervals: dict[str, tuple[Finite, Finite] | None] = field(default_factory=dict)
    random_split_scores: Annotated[dict[str, Any], Metrics] = field(default_factory=dict)
    random_split_version: int | None = None
    random_split_grouped: Annotated[dict[str, Any], Metrics] = field(default_factory=dict)
    false_positive_kinds: dict[str, int] = field(default_factory=dict)
    calibration: Annotated[dict[str, Any], Calibration] = field(default_factory=dict)
    abstention: Annotated[dict[str, Any], Abstention] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    initialized_from: int | None = None
    copied_from: int | None = None
    comparison: Annotated[dict[str, Any], Comparison] = field(default_factory=dict)
    intended_use: Annotated[dict[str, Any], IntendedUse] = field(default_factory=dict)
    leak_check: dict[str, Any] = field(default_factory=dict)
    limitations: tuple[str, ...] = ()
    drift: Annotated[dict[str, dict[str, Any]], dict[str, DriftHistogram]] = field(
        default_factory=dict
    )
    novelty: NoveltyStatistics | None = None
    parity: Annotated[dict[str, Any], Parity] = field(default_factory=dict)
    speed: Annotated[dict[str, float], Speed] = field(default_factory=dict)
    date: str = ""
    size_bytes: int | None = None
    hardware: dict[str, Any] = field(default_factory=dict)
    python: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any, *, file: str) -> Self:
        """Returns the card that `card.json` holds, of this release or an older one.

        Args:
          value: as `json.loads` returns it.
          file: its path, for the sentence.

        Raises:
          UserError: a field is missing, has another type, or contradicts another one.
        """
        value = cls.upgrade(value) if isinstance(value, dict) else value
        card = json_dataclass.from_json(cls, value, file=file, remedy=REMEDY)
        if problem := card_schema.contradiction(card, kinds=KINDS):
            raise UserError(f"{file} is damaged: {problem}. {REMEDY}")
        return card

    def to_json(self) -> bytes:
        """Returns the contents of `card.json`."""
        return json_dataclass.to_json(self)

    @property
    def identity(self) -> dict[str, str]:
        """What a table of this version's predictions says of it: model, number, and one SHA-256.

        The SHA-256 is of the names and sums of its files; without it where an old card has none.
        """
        identity = {"tfpipe.model": self.model, "tfpipe.version": str(self.version)}
        if self.sha256:
            sums = json.dumps(sorted(self.sha256.items())).encode()
            identity["tfpipe.sha256"] = hashlib.sha256(sums).hexdigest()
        return identity

    @property
    def network_spec(self) -> Spec:
        """Returns what the network was built from.

        Raises:
          UserError: the version is of boosted trees.
        """
        if self.spec is None:
            raise UserError(
                f"Version {self.version} of {self.model} is no network but {self.kind}, so it has "
                "neither weights nor spec. Name a network's version."
            )
        return self.spec

    @staticmethod
    def upgrade(card: dict[str, Any]) -> dict[str, Any]:
        """Returns an older release's card with the keys of this one; a card of this one as it is.

        Cards of the first release have neither kind nor inputs: all were classifiers of images.
        """
        upgraded = {RENAMED.get(name, name): value for name, value in card.items()}
        for name, renamed in RENAMED_INSIDE.items():
            if isinstance(upgraded.get(name), dict):
                upgraded[name] = {renamed.get(n, n): v for n, v in upgraded[name].items()}
        for name in ("metrics", "class_metrics", "confidence_intervals"):
            upgraded[name] = _renamed_keys(upgraded.get(name), RENAMED_METRICS)
        abstention = upgraded.get("abstention")
        if isinstance(abstention, dict) and "test" in abstention:
            precisions = _renamed_keys(abstention["test"], RENAMED_PRECISION)
            upgraded["abstention"] = abstention | {"test": precisions}
        modes = upgraded.get("inference_modes")
        if isinstance(modes, dict):
            upgraded["inference_modes"] = {
                mode: {RENAMED.get(name, name): v for name, v in about.items()}
                if isinstance(about, dict)
                else about
                for mode, about in modes.items()
            }
        upgraded |= _without_scans(upgraded)
        if isinstance(upgraded.get("data"), dict):
            upgraded["data"] = RecordSummary.upgrade(upgraded["data"])
        if upgraded.get("kind") == "shallow":
            upgraded["kind"] = BOOSTED_TREES
        if "columns" not in upgraded and isinstance(upgraded.get("spec"), dict):
            upgraded["columns"] = upgraded["spec"].get("columns", ())
        # Older releases wrote null for an empty field.
        return {name: value for name, value in upgraded.items() if value is not None}


def _without_scans(card: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a card's inference modes, without those of older releases.

    A scan computed windows together, approximately. A version that was published for it has the
    thresholds of the exact mode from now on, or those of the scan where it has no others.
    """
    mode, modes = card.get("inference_mode"), card.get("inference_modes")
    exact = SCANS.get(mode, "") if isinstance(mode, str) else ""
    fields: dict[str, Any] = {"inference_mode": exact} if exact else {}
    if not isinstance(modes, dict):
        return fields
    fields["inference_modes"] = {n: about for n, about in modes.items() if n not in SCANS}
    if exact and mode in modes:
        about = fields["inference_modes"].setdefault(exact, modes[mode])
        if isinstance(about, dict) and isinstance(about.get("thresholds"), dict):
            fields["thresholds"] = about["thresholds"]
    return fields


def _renamed_keys(value: Any, renamed: dict[str, str]) -> Any:
    """Returns nested objects with some keys renamed, at any depth except among class names."""
    if not isinstance(value, dict):
        return value
    return {
        name if isinstance(inner, dict) else renamed.get(name, name): _renamed_keys(inner, renamed)
        for name, inner in value.items()
    }
