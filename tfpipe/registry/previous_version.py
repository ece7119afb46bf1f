"""Previous version: its test groups and splits, and its predictions on the records of today."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import dataset
from tfpipe.data import manifest as data_manifest
from tfpipe.data.added_records import PREFIX
from tfpipe.data.dataset import Dataset
from tfpipe.data.manifest import RecordManifest
from tfpipe.evaluation import version_comparison, whole_files
from tfpipe.registry import load, predictions, store
from tfpipe.tasks.splits import PackedSplits, SplitConfig
from tfpipe.tasks.task import SPLITS, Task

SOURCES = "assets.extra/sources.csv"  # `sources` when the version was published
GROUPS = "assets.extra/groups.csv"  # `card_statistics.groups` likewise
SHOWN = 5  # raw files in an error's sentence


def sources(manifest: RecordManifest) -> pd.DataFrame:
    """Returns the split of each raw file, the version's table "sources".

    Where an adaptation added files, "sha256" holds theirs: in the raw folder they have other names.
    """
    rows = [(split, name) for split in SPLITS for name in manifest.sources[split]]
    frame = pd.DataFrame(rows, columns=["split", "source"])
    if manifest.added_sha256:
        frame["sha256"] = frame["source"].map(manifest.added_sha256).fillna("")
    return frame


def packed_splits(version: Path, split: SplitConfig) -> PackedSplits:
    """Returns the splits that a version's records had, for records that are gone since.

    Nothing where the version's shares or salt are others, or where it has no such tables. Files
    that the version or one before it was adapted with count by their checksum.

    Args:
      version: its folder.
      split: of the records to be.

    Raises:
      UserError: the version has no readable card.
    """
    data = store.read_card(version).data
    if (tuple(data.fractions), data.salt) != (split.shares, split.salt):
        return PackedSplits()
    by_source, by_group = (
        _split_of(version / table, noun) for table, noun in ((SOURCES, "source"), (GROUPS, "group"))
    )
    by_checksum: dict[str, str] = {}
    for one in _lineage(version):
        frame = _read(one / SOURCES, "source")
        added = frame[frame["sha256"] != ""]
        for sha256, part in zip(added["sha256"], added["split"], strict=True):
            if by_checksum.get(sha256) != "train":  # what any version was trained on stays so
                by_checksum[sha256] = part
    return PackedSplits(by_source, by_group, by_checksum)


def training_groups(version: Path) -> set[str]:
    """Returns the groups that a version, or one that its weights come from, was trained on."""
    frames = [_read(one / GROUPS, "group") for one in _lineage(version)]
    return {name for frame in frames for name in frame.loc[frame["split"] == "train", "group"]}


def _lineage(version: Path) -> Iterator[Path]:
    """Yields a version and those that its weights come from, as far as they are still there."""
    while (version / "assets.extra" / "card.json").is_file():
        yield version
        before = store.read_card(version).initialized_from
        if before is None or before >= int(version.name):
            return
        version = version.with_name(str(before))


def newest_splits(models: Path, split: SplitConfig) -> PackedSplits:
    """Returns `packed_splits` of the version that was published last.

    Args:
      models: folder of the versions of a task.
      split: of the records to be.
    """
    try:
        version = store.find(models.parent, task=models.name, model=None, version=None)
        return packed_splits(version, split)
    except UserError:  # there is none, or none that can be read
        return PackedSplits()


def _split_of(table: Path, noun: str) -> dict[str, str]:
    """Returns the split of each source or group of a table; a group in two splits has none.

    Those that an adaptation added are named as before it; others of the same name go first.
    """
    frame = _read(table, noun)
    frame = frame[frame["sha256"] == ""]
    names: dict[str, str] = {}
    for part in (frame[frame["added"]], frame[~frame["added"]]):
        part = part.drop_duplicates(["split", noun]).drop_duplicates(noun, keep=False)
        names |= dict(zip(part[noun], part["split"], strict=True))
    return names


def _read(table: Path, noun: str) -> pd.DataFrame:
    """Returns a table of sources or groups: split, name, sha256 or "", added by an adaptation."""
    if not table.is_file():
        return pd.DataFrame({"split": [], noun: [], "sha256": [], "added": np.array([], bool)})
    with files.open_regular(table.parents[1], str(table.relative_to(table.parents[1]))) as file:
        frame = tables.read_csv(file, text=("split", noun, "sha256"))
    added = frame[noun].str.startswith(PREFIX)
    frame = frame.assign(added=added.astype(bool), **{noun: frame[noun].str.removeprefix(PREFIX)})
    return frame if "sha256" in frame else frame.assign(sha256="")


def check(version: Path, manifest: RecordManifest) -> None:
    """Refuses records on which the previous version and a new one cannot be compared.

    No training photo of one may be a test photo of the other, and each class of the old one must
    still exist.

    Args:
      version: the previous one. Versions of the first release have no table of their raw files.
      manifest: of the records as they are now.

    Raises:
      UserError: raw files have changed their split, or a class is gone.
    """
    card = store.read_card(version)
    gone = [name for name in card.classes if name not in manifest.classes]
    if gone:
        raise UserError(
            f"The records no longer have the class {gone[0]!r}, which version {version.name} names."
            " Put its raw files back, or begin a new line of versions by `tfpipe train`."
        )
    if not (version / SOURCES).is_file():
        return
    previous = _split_of(version / SOURCES, "source")
    now = {name: split for split in SPLITS for name in manifest.sources[split]}
    moved = [
        f"{name} ({split}, now {now[name]})"
        for name, split in previous.items()
        if now.get(name, split) != split
    ]
    if moved:
        more = f" and {len(moved) - SHOWN} more" if len(moved) > SHOWN else ""
        raise UserError(
            f"Raw files have changed their split since version {version.name}: "
            f"{', '.join(moved[:SHOWN])}{more}. So training files of one version would be test "
            "files of the other. Give them the names, groups and splits that they had, or begin a "
            "new line of versions by `tfpipe train`."
        )


def test_groups(version: Path, manifest: RecordManifest) -> set[str]:
    """Returns the test groups that there were when a version was made."""
    frame = predictions.predictions(version, manifest.metadata)
    return set(frame.loc[frame["split"] == "test", "group"])


def predict_test_examples(version: Path, records: Path, *, manifest: RecordManifest) -> np.ndarray:
    """Returns a version's probabilities [n, classes] of the test examples as they are now.

    Classes are the records'; a class that the version lacks has a probability of 0.

    Raises:
      UserError: the records lack a column that the version reads.
    """
    predictor = load.open_version(version)
    card, inputs = predictor.card, predictor.card.inputs
    missing = [name for name in card.columns if name not in manifest.columns]
    if missing and "columns" in inputs:
        raise UserError(
            f"The records no longer have the columns {', '.join(missing)}, which version "
            f"{version.name} reads. Export the raw files with them."
        )
    order = [manifest.columns.index(name) for name in card.columns if name not in missing]
    if "image" in inputs:
        batches = dataset.batches(records, dataset.TEST, manifest=manifest)
        predicted = np.concatenate(
            [
                predictor.predict_proba(
                    features["image"].numpy(),
                    features["columns"].numpy()[:, order] if order else None,
                )
                for features, _ in batches
            ]
        )
    else:
        columns = dataset.columns_of(records, ("test",), manifest=manifest)
        predicted = predictor.predict_proba(columns=columns[:, order])
    probabilities = np.zeros((len(predicted), len(manifest.classes)))
    probabilities[:, [manifest.classes.index(name) for name in card.classes]] = predicted
    return probabilities


def compare_files(
    version: Path,
    now: dict[str, whole_files.FileResult],
    *,
    task: Task,
    raw: Path,
    records: Path,
    options: Any,
    report: Reporter = silent,
) -> version_comparison.Files | None:
    """Returns the counts of a version and of a new one in whole test files.

    The version predicts by its own inference mode.

    Args:
      version: the one before.
      now: test file -> the new version's result; {} where the task does not evaluate files.
      task: the question.
      raw: the raw folder.
      records: packed from it.
      options: the task's.
      report: receives the stage "previous-version" with the files done.

    Returns:
      Both, of the files with a truth; None where there are none, or where no score of files
      decides.
    """
    whole_file = task.whole_file
    if not now or whole_file is None or not whole_file.metric:
        return None
    predictor = load.open_version(version)
    is_sliding = whole_file.sliding_window
    then = whole_files.evaluate_test_files(
        task,
        raw,
        Dataset(records, data_manifest.read(records), task.scoring.objective),
        load.with_inference_mode(predictor, None) if is_sliding else predictor.predict_proba,
        thresholds=predictor.card.thresholds,
        options=options,
        report=report,
    )
    return version_comparison.Files(
        np.array([now[name].group for name in now], str),
        [then[name].counts for name in now],
        [result.counts for result in now.values()],
        whole_file.metric,
        whole_file.tie_metric,
    )
