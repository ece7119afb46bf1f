"""Exploration of unlabelled images: map, clusters, novelty scores, queue, and their files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import sklearn
from scipy.special import softmax

from tfpipe.base import files, tables
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import dataset, metadata
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import metrics
from tfpipe.explore import (
    confounders,
    embeddings,
    novelty,
    novelty_benchmark,
    orientation,
    page,
    parametric_umap,
    queue,
    umap,
    versions,
)
from tfpipe.explore.novelty import ModelOutputs
from tfpipe.explore.result import Findings
from tfpipe.explore.versions import Subject
from tfpipe.tasks.task import Task

MAPS = ("umap", "parametric")
# Ranks the queue where no class was left out. It found left-out classes best among the simulated
# particles (mean AUROC 0.78; the mean of all ranks 0.71) and in a real FlowCam run.
DEFAULT = "mahalanobis"
WORKING_MEMORY_MB = 64  # of scikit-learn's distances
# How images were shown to the model whose clusters are tested against direction.
ORIGINAL, NORMALIZED = "as they are", "lying the same way"


@dataclass(frozen=True)
class ExplorationConfig:
    """What to explore, and how.

    Attributes:
      task: the task of the records.
      version: folder of a saved version of a classifier or an autoencoder. The newest version of
        the other kind is used as well, if there is one of the same records.
      records: folder of the packed records.
      out: folder to write to.
      leave_out: a class, or "each", to measure which score is best; None to use earlier results.
      map_kind: "umap", or "parametric" for a map that is saved and places new images.
      normalize_orientation: whether models see every image turned to the same direction.
      embeddings: table of new images that `new_images.explore` places on the map.
      seed: of everything random.
      report: receives the stages "embed", "map", "leave-out" and "write".
    """

    task: Task
    version: Path
    records: Path
    out: Path
    leave_out: str | None = None
    map_kind: str = "umap"
    normalize_orientation: bool = False
    embeddings: Path | None = None
    seed: int = 0
    report: Reporter = silent


def explore(config: ExplorationConfig) -> dict[str, Any]:
    """Explores all packed images of a task, and writes the result.

    Args:
      config: what to explore, and how.

    Returns:
      {"path", "files", "images", "clusters", "queue", "ranked_by", "explained", "notes"}.

    Raises:
      UserError: the version was trained on other records, there are too few training images, or no
        class can be left out.
    """
    choose(config.map_kind, MAPS, noun="map")
    subjects, notes = versions.opened(config.task, config.version, config.records)
    # scikit-learn's distances otherwise take 1 GB, however few the images are.
    with sklearn.config_context(working_memory=WORKING_MEMORY_MB):
        findings, model = _findings(config, subjects, notes)
    config.report("write", {})
    paths = _write(config, findings, model=model, subjects=subjects)
    tests = [*findings.of_clusters.itertuples(), *findings.of_scores.itertuples()]
    return {
        "path": str(config.out / "explore.html"),
        "files": [path.name for path in paths],
        "images": len(findings.frame),
        "clusters": int(findings.frame["cluster"].max()) + 1,
        "queue": len(findings.queue),
        "ranked_by": findings.ranked_by,
        "explained": sorted({row.what for row in tests if row.explained}),
        "notes": list(findings.notes),
    }


def _findings(
    config: ExplorationConfig, subjects: list[Subject], notes: list[str]
) -> tuple[Findings, keras.Model | None]:
    """Returns the findings, and the model of the parametric map if that was asked for."""
    data = subjects[0].data
    outputs = _outputs(config, subjects)
    measures = embeddings.measure_images(data, report=config.report)
    frame, labels = described(data)
    is_train = (frame["split"] == "train").to_numpy()
    groups = frame["group"].to_numpy(str)
    is_reference = reference_images(config, labels, is_train=is_train, notes=notes)
    is_reference = sampled(
        is_reference, groups, labels, what="Novelty is measured against", config=config, notes=notes
    )
    is_fitted = sampled(
        is_train, groups, labels, what="The map is fitted to", config=config, notes=notes
    )
    if len(frame) > queue.EXACT:
        notes.append(
            "An index of neighbours looks for near-copies in the queue, and may miss some."
        )
    config.report("map", {})
    places, trust, model = _map(config, outputs.embedding, is_train, is_fitted=is_fitted)
    scores = novelty.scores(outputs, is_reference, labels=labels, places=places)
    nuisances = confounders.nuisance_columns(measures.nuisances, frame)
    clusters = umap.clusters(places)
    classes = data.manifest.classes
    frame = frame[["key", "split", "group"]].assign(
        label=[classes[i] if i >= 0 else "" for i in labels],
        predicted=_predictions(subjects, outputs),
        cluster=clusters,
        x=places[:, 0].astype(float),
        y=places[:, 1].astype(float),
        **scores,
        **{name: values for name, values in nuisances.items() if name != "group"},
    )
    benchmark, ranked_by, reason = _ranking(config, subjects)
    is_candidate = labels < 0
    if not is_candidate.any():
        notes.append("Every image is labelled, so the queue has those of held-out groups.")
        is_candidate = ~is_train
    _, nearest = novelty.neighbours(
        novelty.unit(outputs.embedding), is_reference, count=queue.N_NEAREST
    )
    copies = queue.near_copies(outputs.embedding, measures.hashes, has_content=measures.has_content)
    findings = Findings(
        title=f"{config.task.name}: exploration by "
        f"{config.version.parent.name} {config.version.name}",
        frame=frame,
        scores=tuple(scores),
        nuisances=tuple(nuisances),
        queue=queue.queue(
            frame[ranked_by].to_numpy(), is_candidate, copies=copies, nearest=nearest
        ),
        ranked_by=ranked_by,
        reason=reason,
        benchmark=benchmark,
        trust=trust,
        of_clusters=confounders.of_clusters(clusters, nuisances, seed=config.seed),
        of_scores=confounders.of_scores(scores, nuisances),
        of_direction=_direction(config, subjects[0], clusters, measures.axes, is_train=is_train),
        notes=tuple(notes),
    )
    return findings, model


def _outputs(config: ExplorationConfig, subjects: list[Subject]) -> ModelOutputs:
    """Returns the outputs of all subjects together; the embedding is the first one's."""
    outputs = [
        embeddings.compute_outputs(
            subject.model,
            subject.data,
            normalize_orientation=config.normalize_orientation,
            report=config.report,
        )
        for subject in subjects
    ]
    return ModelOutputs(
        outputs[0].embedding,
        next((part.logits for part in outputs if part.logits is not None), None),
        next((part.error for part in outputs if part.error is not None), None),
    )


def described(data: Dataset) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns split, key, group and metadata of all examples, and their labels [n] int."""
    frames = []
    for split in embeddings.splits_of(data):
        labels = dataset.labels_of(data.folder, (split,), manifest=data.manifest)
        frames.append(metadata.read_metadata(data, split, labels))
    frame = pd.concat(frames, ignore_index=True)
    return frame, frame["label"].to_numpy()


def reference_images(
    config: ExplorationConfig, labels: np.ndarray, *, is_train: np.ndarray, notes: list[str]
) -> np.ndarray:
    """Returns [n] bool: the training images that an image is compared with to be novel."""
    is_reference = is_train & (labels >= 0)
    if is_reference.sum() < novelty.MIN_REFERENCE:
        notes.append(
            f"Only {is_reference.sum()} training images are labelled, so novelty is measured "
            "against the whole training split."
        )
        is_reference = is_train
    if is_reference.sum() < novelty.MIN_REFERENCE:
        raise UserError(
            f"{config.records} has {is_reference.sum()} training images, expected at least "
            f"{novelty.MIN_REFERENCE} to measure the novelty of others. Add data and pack it."
        )
    return is_reference


def sampled(
    is_chosen: np.ndarray,
    groups: np.ndarray,
    labels: np.ndarray,
    *,
    what: str,
    config: ExplorationConfig,
    notes: list[str],
) -> np.ndarray:
    """Returns some images [n] bool; of more than `umap.EXACT` those of `umap.sample_by_group`.

    Args:
      is_chosen: [n] bool, of which images.
      groups: [n] str.
      labels: [n] int.
      what: begins the note that says so.
      config: its `seed` draws them.
      notes: gets the note.
    """
    count = int(is_chosen.sum())
    if count <= umap.EXACT:
        return is_chosen
    rows = np.flatnonzero(is_chosen)
    sample = umap.sample_by_group(groups[rows], labels[rows], most=umap.EXACT, seed=config.seed)
    rows = rows[sample]
    notes.append(
        f"{what} {len(rows)} of {count} training images, the same share of each group but a few "
        "of each class."
    )
    return np.isin(np.arange(len(groups)), rows)


def _map(
    config: ExplorationConfig,
    embedding: np.ndarray,
    is_train: np.ndarray,
    *,
    is_fitted: np.ndarray,
) -> tuple[np.ndarray, pd.DataFrame, keras.Model | None]:
    """Returns places [n, 2], the trustworthiness of each map, and the parametric map's model."""
    mapper = umap.fit(embedding[is_fitted], seed=config.seed)
    maps, model = {"UMAP": (umap.placed(mapper, embedding), np.nan)}, None
    if config.map_kind == "parametric":
        fitted = parametric_umap.fit(
            embedding[is_fitted], seed=config.seed, steps=parametric_umap.STEPS
        )
        model = fitted.model
        maps = {"parametric UMAP": (parametric_umap.placed(model, embedding), fitted.steps)} | maps
    rows = [
        {
            "map": name,
            "training": umap.trust(embedding[is_train], places[is_train], seed=config.seed),
            "new": umap.trust(embedding[~is_train], places[~is_train], seed=config.seed),
            "steps": float(steps),
        }
        for name, (places, steps) in maps.items()
    ]
    return next(iter(maps.values()))[0], pd.DataFrame(rows), model


def _predictions(subjects: list[Subject], outputs: ModelOutputs) -> list[str]:
    """Returns the class that the classifier predicts of each image; "" without a classifier."""
    if outputs.logits is None:
        return [""] * len(outputs.embedding)
    card = next(subject.card for subject in subjects if subject.kind == "classifier")
    probabilities = softmax(outputs.logits, axis=1)
    labels = metrics.predict_labels(probabilities, thresholds=card.thresholds)
    return [card.classes[i] for i in labels]


def _ranking(config: ExplorationConfig, subjects: list[Subject]) -> tuple[pd.DataFrame, str, str]:
    """Returns the table of classes left out, the score that ranks the queue, and the reason."""
    folder = config.out / "leave-out"
    opened = [(subject.card, subject.data, subject.spec) for subject in subjects]
    if config.leave_out:
        table = novelty_benchmark.benchmark(
            opened, config.leave_out, folder, seed=config.seed, report=config.report
        )
    else:
        table = novelty_benchmark.stored_results(opened, folder, seed=config.seed)
    best = novelty_benchmark.winner(table)
    if best is None:
        reason = (
            f"The queue is ranked by {DEFAULT}. No class was left out yet; --leave-out each "
            "measures which score finds new classes best."
        )
        return table, DEFAULT, reason
    auroc = table.set_index(["class", "score"]).loc[(novelty_benchmark.MEAN, best), "auroc"]
    reason = (
        f"The queue is ranked by {best.replace('_', ' ')}, which found classes left out of "
        f"training best: AUROC {auroc:.3f}, the mean of {table['class'].nunique() - 1}."
    )
    return table, best, reason


def _direction(
    config: ExplorationConfig,
    subject: Subject,
    clusters: np.ndarray,
    angles: np.ndarray,
    *,
    is_train: np.ndarray,
) -> pd.DataFrame:
    """Returns `orientation.explained` of the clusters, with "shown": how models saw the images.

    With normalized orientation, the clusters of the original images are tested as well.

    Args:
      config: what to explore, and how.
      subject: the version whose embedding is mapped.
      clusters: [n] int.
      angles: [n, 3] float, from `orientation.axes`, of the original images.
      is_train: [n] bool, the images that a map is fitted to.
    """
    axes = orientation.Axes(*angles.T)
    table = orientation.explained(clusters, axes, seed=config.seed)
    if not config.normalize_orientation:
        return table.assign(shown=ORIGINAL)
    outputs = embeddings.compute_outputs(subject.model, subject.data)
    training = outputs.embedding[is_train]
    fitted = umap.sample_rows(len(training), most=umap.EXACT, seed=config.seed)
    mapper = umap.fit(training[fitted], seed=config.seed)
    clusters = umap.clusters(umap.placed(mapper, outputs.embedding))
    original = orientation.explained(clusters, axes, seed=config.seed).assign(shown=ORIGINAL)
    return pd.concat([original, table.assign(shown=NORMALIZED)], ignore_index=True)


def _write(
    config: ExplorationConfig,
    findings: Findings,
    *,
    model: keras.Model | None,
    subjects: list[Subject],
) -> list[Path]:
    """Writes all files of an exploration.

    Args:
      config: its `out` is the folder, its `seed` chooses the points that the page draws.
      findings: what to write.
      model: of the parametric map, or None.
      subjects: the versions used.

    Returns:
      The paths: map.csv (a row for each image), queue.csv, explained.csv, trustworthiness.csv,
      leave_out.csv where a class was left out, map.png, map.keras and explore.html.

    Raises:
      UserError: the folder cannot be written.
    """
    out = config.out
    explained = pd.concat(
        [findings.of_clusters, findings.of_scores, findings.of_direction], ignore_index=True
    )
    frames = {
        "map.csv": findings.frame,
        "queue.csv": findings.queue_table(),
        "explained.csv": explained,
        "trustworthiness.csv": findings.trust,
    }
    if len(findings.benchmark):
        frames["leave_out.csv"] = findings.benchmark
    for name, table in frames.items():
        tables.write_csv(table, out / name)
    paths = [out / name for name in frames]
    paths.append(out / "map.png")
    files.replace(out / "map.png", page.map_png(findings))
    if model is not None:
        paths.append(out / "map.keras")
        parametric_umap.save(model, out / "map.keras")
    rows, queued = page.shown_rows(findings, seed=config.seed)
    autoencoder = next((subject for subject in subjects if subject.kind == "autoencoder"), None)
    reconstructions = (
        embeddings.reconstructions(autoencoder.model, autoencoder.data, queued)
        if autoencoder
        else {}
    )
    thumbnails = embeddings.thumbnails(subjects[0].data, rows)
    html_path = out / "explore.html"
    page.write(html_path, findings, thumbnails=thumbnails, reconstructions=reconstructions)
    return [*paths, html_path]
