"""What is in the pictures that nobody has named: map, clusters, scores of novelty, and a queue."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.data import dataset, metadata
from tfpipe.data.dataset import Dataset
from tfpipe.evaluation import metrics
from tfpipe.explore import (
    appearance,
    confounders,
    embeddings,
    novelty,
    novelty_benchmark,
    parametric_umap,
    queue,
    run_files,
    run_orientation,
    umap,
    versions,
)
from tfpipe.explore.novelty import Seen
from tfpipe.explore.result import Findings
from tfpipe.explore.versions import Subject
from tfpipe.tasks.task import Task

MAPS = ("umap", "parametric")
# Ranks the queue where no class was left out. It found left-out classes best in the drawn particles
# (mean AUROC 0.78, the mean of all ranks 0.71) and in a real FlowCam run.
DEFAULT = "mahalanobis"

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Exploration:
    """What to explore, and how.

    Attributes:
      task: the question.
      version: folder of a saved version, a classifier's or an autoencoder's. The newest of the
        other kind is looked through as well, if there is one of the same records.
      records: folder of the packed records.
      out: folder of what is written.
      leave_out: a class, or "each", to measure by which score is best; None for what was measured
        before.
      map_kind: "umap", or "parametric" for one that is saved and maps new pictures.
      blind: whether models are shown every picture lying the same way, see `blindness`.
      seed: of everything random.
      tell: told (stage, facts) as it goes.
    """

    task: Task
    version: Path
    records: Path
    out: Path
    leave_out: str | None = None
    map_kind: str = "umap"
    blind: bool = False
    seed: int = 0
    tell: Tell = lambda stage, facts: None


def explore(run: Exploration) -> dict[str, Any]:
    """Explores all packed pictures of a task, and writes what it finds.

    Args:
      run: what, and how.

    Returns:
      {"path", "files", "pictures", "clusters", "queue", "ranked_by", "explained", "notes"}.

    Raises:
      UserError: the version was made of other records, too few pictures are known, or no class can
        be left out.
    """
    choose(run.map_kind, MAPS, noun="map")
    found, notes = versions.opened(run.task, run.version, run.records)
    known, mapped = _findings(run, found, notes)
    run.tell("write", {})
    written = run_files.write(run.out, known, mapped=mapped, found=found, seed=run.seed)
    tested = [*known.of_clusters.itertuples(), *known.of_scores.itertuples()]
    return {
        "path": str(run.out / "explore.html"),
        "files": [path.name for path in written],
        "pictures": len(known.frame),
        "clusters": int(known.frame["cluster"].max()) + 1,
        "queue": len(known.queue),
        "ranked_by": known.ranked_by,
        "explained": sorted({row.what for row in tested if row.explained}),
        "notes": list(known.notes),
    }


def _findings(
    run: Exploration, found: list[Subject], notes: list[str]
) -> tuple[Findings, keras.Model | None]:
    """Returns what there is to find, and the parametric map if that was asked for."""
    data = found[0].data
    seen = _seen(run, found)
    looks = embeddings.looks(data, progress=_told(run, "embed"))
    frame, label = _described(data)
    train = (frame["split"] == "train").to_numpy()
    known = train & (label >= 0)
    if known.sum() < novelty.LEAST_KNOWN:
        notes.append(
            f"{known.sum()} training pictures are labelled, so all of the training split is what "
            "others are new against."
        )
        known = train
    if known.sum() < novelty.LEAST_KNOWN:
        raise UserError(
            f"{run.records} holds {known.sum()} training pictures, expected at least "
            f"{novelty.LEAST_KNOWN} to say of others that they are new. Add data and pack it."
        )
    run.tell("map", {})
    places, trust, mapped = _mapped(run, seen.embedding, train)
    told = novelty.scores(seen, known, labels=label, places=places)
    measures = appearance.all_of(looks.nuisances, frame)
    clusters, level = umap.clusters(places), found[0] if run.blind else None
    classes = data.manifest.classes
    frame = frame[["key", "split", "group"]].assign(
        label=[classes[i] if i >= 0 else "" for i in label],
        predicted=_predicted(found, seen),
        cluster=clusters,
        x=places[:, 0].astype(float),
        y=places[:, 1].astype(float),
        **told,
        **{name: values for name, values in measures.items() if name != "group"},
    )
    benchmark, ranked_by, reason = _ranking(run, found)
    asked = label < 0
    if not asked.any():
        notes.append("Every picture is labelled, so the queue is of those of held-out groups.")
        asked = ~train
    _, beside = novelty.neighbours(novelty.unit(seen.embedding), known, count=queue.KNOWN_BESIDE)
    copies = queue.near_copies(seen.embedding, looks.hashes, shows=looks.shows)
    return Findings(
        title=f"{run.task.name}: exploration by {run.version.parent.name} {run.version.name}",
        frame=frame,
        scores=tuple(told),
        nuisances=tuple(measures),
        queue=queue.queue(frame[ranked_by].to_numpy(), asked, copies=copies, beside=beside),
        ranked_by=ranked_by,
        reason=reason,
        benchmark=benchmark,
        trust=trust,
        of_clusters=confounders.of_clusters(clusters, measures, seed=run.seed),
        of_scores=confounders.of_scores(told, measures),
        of_direction=run_orientation.told(clusters, looks.axes, level, train=train, seed=run.seed),
        notes=tuple(notes),
    ), mapped


def _seen(run: Exploration, found: list[Subject]) -> Seen:
    """Returns what the first subject and, beside it, the one of the other kind make of all."""
    each = [
        embeddings.seen(one.model, one.data, blind=run.blind, progress=_told(run, "embed"))
        for one in found
    ]
    return Seen(
        each[0].embedding,
        next((one.logits for one in each if one.logits is not None), None),
        next((one.error for one in each if one.error is not None), None),
    )


def _described(data: Dataset) -> tuple[pd.DataFrame, np.ndarray]:
    """Returns split, key, group and metadata of all examples, and their labels [n] int."""
    frames = []
    for split in embeddings.splits_of(data):
        labels = dataset.labels_of(data.folder, (split,), manifest=data.manifest)
        frames.append(metadata.read_metadata(data, split, labels))
    frame = pd.concat(frames, ignore_index=True)
    return frame, frame["label"].to_numpy()


def _mapped(
    run: Exploration, embedding: np.ndarray, train: np.ndarray
) -> tuple[np.ndarray, pd.DataFrame, keras.Model | None]:
    """Returns places [n, 2], the trustworthiness of each map made, and the parametric one."""
    mapper = umap.fit(embedding[train], seed=run.seed)
    each, model = {"UMAP": (umap.placed(mapper, embedding), np.nan)}, None
    if run.map_kind == "parametric":
        fitted = parametric_umap.fit(embedding[train], seed=run.seed, steps=parametric_umap.STEPS)
        model = fitted.model
        each = {"parametric UMAP": (parametric_umap.placed(model, embedding), fitted.steps)} | each
    rows = [
        {
            "map": name,
            "training": umap.trust(embedding[train], places[train], seed=run.seed),
            "new": umap.trust(embedding[~train], places[~train], seed=run.seed),
            "steps": float(steps),
        }
        for name, (places, steps) in each.items()
    ]
    return next(iter(each.values()))[0], pd.DataFrame(rows), model


def _predicted(found: list[Subject], seen: Seen) -> list[str]:
    """Returns the class that the classifier says of each picture; "" without one."""
    if seen.logits is None:
        return [""] * len(seen.embedding)
    card = next(one.card for one in found if one.kind == "classifier")
    said = metrics.predict_labels(softmax(seen.logits, axis=1), thresholds=card.thresholds)
    return [card.classes[i] for i in said]


def _ranking(run: Exploration, found: list[Subject]) -> tuple[pd.DataFrame, str, str]:
    """Returns the table of classes left out, the score that ranks the queue, and why."""
    folder = run.out / "leave-out"
    learnt = [(one.card, one.data, one.spec) for one in found]
    if run.leave_out:
        table = novelty_benchmark.benchmark(
            learnt, run.leave_out, folder, seed=run.seed, tell=run.tell
        )
    else:
        table = novelty_benchmark.kept(learnt, folder, seed=run.seed)
    best = novelty_benchmark.winner(table)
    if best is None:
        why = (
            f"The queue is ranked by {DEFAULT}, as no class was left out to measure which score "
            "finds new kinds best here; --leave-out each does."
        )
        return table, DEFAULT, why
    auroc = table.set_index(["class", "score"]).loc[(novelty_benchmark.MEAN, best), "auroc"]
    why = (
        f"The queue is ranked by {best.replace('_', ' ')}, which found classes left out of "
        f"training best: AUROC {auroc:.3f}, the mean of {table['class'].nunique() - 1}."
    )
    return table, best, why


def _told(run: Exploration, stage: str) -> Callable[[int, int], None]:
    return lambda done, total: run.tell(stage, {"done": done, "total": total})
