"""Exploration of new images by the embeddings in a table of predictions, without the images.

A season's table may come from a cluster, and its images may be there alone. Map and scores are
those of packed images: the map is fitted to the training split, and novelty is the distance from
its labelled images.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow
import sklearn
from pyarrow import parquet

from tfpipe.base import files, tables
from tfpipe.base.errors import UserError
from tfpipe.explore import embeddings, novelty, page, queue, run, umap, versions
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.explore.result import Findings
from tfpipe.explore.run import ExplorationConfig

PREFIX = "embedding_"
NEW = "new"  # the "split" of new images

_NUMBERED = re.compile(f"{PREFIX}([0-9]{{1,9}})")


class EmbeddingTable(NamedTuple):
    """New images of a table of predictions.

    Attributes:
      frame: key, group and predicted class of each.
      embedding: [n, d] float32.
      identity: `VersionCard.identity` of the version that predicted them; {} in a table of an older
        release, or of `:analyze`.
    """

    frame: pd.DataFrame
    embedding: np.ndarray
    identity: dict[str, str]


def read_table(path: Path) -> EmbeddingTable:
    """Returns what predict wrote with embeddings to a .parquet.

    Raises:
      UserError: the file cannot be read, or has no embeddings, no rows, or no numbers in some.
    """
    name = files.shown(path)
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            numbers = sorted(filter(_NUMBERED.fullmatch, schema.names), key=_number)
            if not numbers or not {"key", "group", "label"} <= {*schema.names}:
                raise UserError(
                    f"{name} has no embeddings, expected the columns key, group, label and "
                    f"{PREFIX}0, ... Predict with --embedding."
                )
            for number in numbers:
                kind = schema.field(number).type
                if not (pyarrow.types.is_floating(kind) or pyarrow.types.is_integer(kind)):
                    raise UserError(
                        f"{name} has {kind} in the column {number}, expected numbers. Predict its "
                        "files again."
                    )
            if not file.metadata.num_rows:
                raise UserError(f"{name} has no rows. Predict some images.")
            parts = [
                file.read_row_group(i, columns=["key", "group", "label", *numbers]).to_pandas()
                for i in range(file.num_row_groups)
            ]
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(
            f"{name} cannot be read as a Parquet file. Give the .parquet that predict wrote "
            "with --embedding."
        ) from error
    embedding = np.concatenate([part[numbers].to_numpy(np.float32) for part in parts])
    frame = pd.concat([part[["key", "group", "label"]] for part in parts], ignore_index=True)
    if len(wrong := np.flatnonzero(~np.isfinite(embedding).all(axis=1))):
        raise UserError(
            f"{name} row {wrong[0] + 1} ({frame['key'][wrong[0]]}) has an embedding that is no "
            "number. Predict its file again."
        )
    metadata = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (schema.metadata or {}).items()
    }
    identity = {key: value for key, value in metadata.items() if key.startswith("tfpipe.")}
    return EmbeddingTable(frame.rename(columns={"label": "predicted"}), embedding, identity)


def _number(column: str) -> int:
    return int(column.removeprefix(PREFIX))


def explore(config: ExplorationConfig) -> dict[str, Any]:
    """Places new images on the map of the training split, and ranks those that look new.

    Args:
      config: the version that predicted them, its records, and the table as its `embeddings`.

    Returns:
      {"path", "files", "images", "clusters", "queue", "ranked_by", "notes"}.

    Raises:
      UserError: the table has no embeddings of the version, or there are too few training images.
    """
    assert config.embeddings is not None
    new = read_table(config.embeddings)
    subjects, notes = versions.opened(config.task, config.version, config.records)
    if len(subjects) > 1:
        notes.pop()  # that another version was used: its embeddings are not in the table
    data, model = subjects[0].data, subjects[0].model
    length = int(np.prod(model.get_layer("embedding").output.shape[1:]))
    if new.embedding.shape[1] != length:
        raise UserError(
            f"{files.shown(config.embeddings)} has embeddings of {new.embedding.shape[1]} numbers, "
            f"but version {config.version.name} of {config.version.parent.name} gives {length}. "
            "Name the version that predicted it by --model and --version."
        )
    identity = subjects[0].card.identity
    if len({one.get("tfpipe.sha256") for one in (identity, new.identity)} - {None}) > 1:
        model, number = (new.identity.get(f"tfpipe.{part}", "?") for part in ("model", "version"))
        raise UserError(
            f"{files.shown(config.embeddings)} was predicted by version {number} of {model}, which "
            f"is another one than version {config.version.name} of {config.version.parent.name}, "
            "so its embeddings do not compare. Name the version that predicted it by --model and "
            "--version."
        )
    frame, labels = run.described(data)
    is_train = (frame["split"] == "train").to_numpy()
    training, labels = frame[is_train], labels[is_train]
    every = np.ones(len(training), bool)
    is_reference = run.reference_images(config, labels, is_train=every, notes=notes)
    groups = training["group"].to_numpy(str)
    is_reference = run.sampled(
        is_reference, groups, labels, what="Novelty is measured against", config=config, notes=notes
    )
    is_fitted = run.sampled(
        every, groups, labels, what="The map is fitted to", config=config, notes=notes
    )
    batches = embeddings.compute_batches(model, data, chosen=is_train, report=config.report)
    packed = np.concatenate([batch.embedding for batch in batches])
    config.report("map", {})
    both = np.concatenate([packed, embeddings.random_projection(new.embedding)])
    places = umap.placed(umap.fit(packed[is_fitted], seed=config.seed), both)
    is_new = np.arange(len(both)) >= len(packed)
    classes = np.array(["", *data.manifest.classes])
    rows = pd.concat(
        [
            training[["key", "split", "group"]].assign(label=classes[labels + 1], predicted=""),
            new.frame.assign(split=NEW, label=""),
        ],
        ignore_index=True,
    )
    with sklearn.config_context(working_memory=run.WORKING_MEMORY_MB):
        is_reference = np.concatenate([is_reference, np.zeros(len(new.frame), bool)])
        labels = np.concatenate([labels, np.full(len(new.frame), -1)])
        scores = novelty.scores(ModelOutputs(both), is_reference, labels=labels, places=places)
        _, nearest = novelty.neighbours(novelty.unit(both), is_reference, count=queue.N_NEAREST)
    findings = Findings(
        title=f"{config.task.name}: new images by {config.version.parent.name} "
        f"{config.version.name}",
        frame=rows.assign(
            cluster=umap.clusters(places),
            x=places[:, 0].astype(float),
            y=places[:, 1].astype(float),
            **scores,
        ),
        scores=tuple(scores),
        nuisances=(),
        queue=queue.queue(
            scores[run.DEFAULT], is_new, copies=np.zeros((0, 2), int), nearest=nearest
        ),
        ranked_by=run.DEFAULT,
        reason="",
        benchmark=pd.DataFrame(),
        trust=pd.DataFrame(),
        of_clusters=pd.DataFrame(),
        of_scores=pd.DataFrame(),
        of_direction=pd.DataFrame(),
        notes=tuple(notes),
    )
    config.report("write", {})
    written = {"map.csv": findings.frame, "queue.csv": findings.queue_table()}
    for name, contents in written.items():
        tables.write_csv(contents, config.out / name)
    files.replace(config.out / "map.png", page.map_png(findings))
    return {
        "path": str(config.out / "map.csv"),
        "files": [*written, "map.png"],
        "images": len(new.frame),
        "clusters": int(findings.frame["cluster"].max()) + 1,
        "queue": len(findings.queue),
        "ranked_by": findings.ranked_by,
        "notes": notes,
    }
