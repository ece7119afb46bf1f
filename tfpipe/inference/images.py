"""New pictures to a table, each answered for itself; memory does not grow with their number."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tfpipe.base import files, table_writers, tables
from tfpipe.base import images as base_images
from tfpipe.base.errors import UserError
from tfpipe.evaluation import drift, ordinal, prevalence
from tfpipe.inference import interchange, resume
from tfpipe.inference.confidence import Certainty, Wanted
from tfpipe.inference.contact_sheets import Sheets
from tfpipe.inference.files import Predicted, drifted, plan_of
from tfpipe.registry import predictions, predictors
from tfpipe.registry.card import BOOSTED_TREES, CLASSIFIER
from tfpipe.registry.load import check_kind
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Example, Reading, Source, Task

MOST_ROWS = 2048  # of a piece of the table
WANTED = Wanted()
KINDS = (CLASSIFIER, BOOSTED_TREES)


def predict(
    task: Task,
    version: Path,
    paths: list[Path],
    *,
    out: Path,
    table: Path | None = None,
    wanted: Wanted = WANTED,
    settings: tuple[str, ...] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predicted:
    """Names each new picture's class, counts the classes, and shows some of each.

    A source that cannot be read is named, and the others are answered all the same. What is said of
    a source is kept as soon as it is whole: killed, the same call goes on with those that are left.

    Args:
      task: the question; its pictures are answered one by one.
      version: folder of a saved version.
      paths: raw files, or folders of them.
      out: the table, .csv, .parquet or of the task's `writers`; counts.csv, contact sheets and the
        sources' pictures with the answers drawn in go to the folder beside it with the same stem.
      table: what is known of the files, where the task reads such a table.
      wanted: what is told of each picture.
      settings: task options as name=value, over those that the version was trained with.
      progress: told (sources done, sources in all).

    Returns:
      What was done.

    Raises:
      UserError: if a path is wrong, a column that the model needs is missing, not one source could
        be read, or the version is of an autoencoder.
    """
    check_kind(version, kinds=KINDS)
    loaded = predictors.opened(version, embeds=wanted.embedding)
    classes, columns = tuple(loaded.card.classes), predictors.columns_of(loaded.card)
    trained = [f"{name}={value}" for name, value in loaded.card.options.items()]
    options = parse_options(task, [*trained, *settings])
    survey = task.survey_new(paths, table, options)
    found = survey.columns or task.columns
    order = predictors.order(columns, found, needed="columns" in loaded.card.inputs)
    known = predictions.predictions(version, {})
    judge = Certainty(known, classes, wanted)
    task = replace(task, classes=classes, columns=found)
    if out.suffix.lower() not in task.image_outputs.writers:
        table_writers.check(out)
    plan = plan_of(loaded.card, options, survey) | {"wanted": wanted, "out": out.suffix}
    sheets, bad = Sheets(classes), {}
    with resume.open_results(out, plan) as results:
        done = [source for source in survey.sources if results.result(source) is not None]
        for source in done:
            with np.load(results.path(source, ".npz"), allow_pickle=False) as taken:
                sheets.again(taken)
        left = [source for source in survey.sources if results.result(source) is None]
        for i, (source, reading) in enumerate(_read_ahead(task, left, options), len(done)):
            progress(i, len(survey.sources))
            if isinstance(reading, UserError):
                bad[source.name] = str(reading)
                continue
            watch = drift.Watch(loaded.card)
            rows, named, said = 0, np.zeros(len(classes), int), np.zeros(len(classes) + 1, int)
            with table_writers.writing(results.path(source, ".parquet")) as write:
                for begin in range(0, len(reading.examples), MOST_ROWS):
                    examples = reading.examples[begin : begin + MOST_ROWS]
                    told, images, likely = _told(
                        task, loaded, judge, examples, order=order, watch=watch
                    )
                    write(_as_written(task, told, images, out))
                    sheets.add([example.key for example in examples], images, likely)
                    rows += len(examples)
                    named += np.bincount(likely.argmax(axis=1), minlength=len(classes))
                    said += prevalence.told(judge.said(likely), classes=len(classes))
            picture = _drawn(task, source, results.rows(source), out, options=options)
            file = io.BytesIO()
            np.savez(file, **sheets.taken())
            files.replace(results.path(source, ".npz"), file.getvalue())
            counts = {"rows": rows, "named": named.tolist(), "said": said.tolist()}
            counts |= {"overlay": picture and str(picture), "drift": watch.told()}
            results.add(source, counts)
        progress(len(survey.sources), len(survey.sources))
        if len(bad) == len(survey.sources):
            raise UserError(f"No file could be read: {' '.join(bad.values())}")
        good = [source for source in survey.sources if source.name not in bad]
        told = [results.result(source) for source in good]
        # The headings all the same where there is no picture.
        nothing = pd.DataFrame(columns=["key", "group", *task.metadata])
        nothing = pd.concat([nothing, judge.told(np.zeros((0, len(classes)), np.float32))], axis=1)
        no_images = np.zeros((0, *task.image_shape))
        frames = (frame for source in good for frame in results.rows(source))
        if not any(one["rows"] for one in told):
            frames = iter([_as_written(task, nothing, no_images, out)])
        _write(task, frames, out)
        named = np.sum([one["named"] for one in told], axis=0)
        said = np.sum([one["said"] for one in told], axis=0)
        beside = out.with_suffix("")
        counted = judge.counted(named, said)
        tables.write_csv(counted, beside / "counts.csv")
        notes, more = drifted(survey.notes, loaded.card, (one["drift"] for one in told))
        more |= {"unsure": int(said[-1]), "counts": counted.to_dict("records")}
        more |= {"kept_from_before": len(done)} if done else {}
        overlays = [Path(one["overlay"]) for one in told if one["overlay"]]
        shown = [*sheets.write(beside), *overlays]
    return Predicted(int(said.sum()), len(good), bad, notes, shown, more)


def _told(
    task: Task,
    loaded,
    judge: Certainty,
    examples: list[Example],
    *,
    order: list[int],
    watch: drift.Watch,
):
    """Returns the rows of some examples, their images, and their probabilities [n, classes]."""
    images = np.stack([example.image for example in examples])
    numbers = np.stack([example.columns for example in examples])[:, order]
    likely = loaded.classify(images, numbers)
    groups = [example.group for example in examples]
    watch.update(images, columns=numbers, probabilities=likely, groups=groups)
    told = pd.DataFrame([_about(example) for example in examples])
    told = pd.concat([told, judge.told(likely)], axis=1)
    told = ordinal.with_expected(told, task, likely)
    if judge.wanted.embedding:
        told = pd.concat([told, _embedded(loaded, images, numbers)], axis=1)
    return told, images, likely


def _as_written(task: Task, told: pd.DataFrame, images: np.ndarray, out: Path) -> pd.DataFrame:
    """Returns rows as the table will have them."""
    if out.suffix.lower() in task.image_outputs.writers:
        return interchange.with_pictures(told, images, out)
    return told


def _write(task: Task, frames: Iterator[pd.DataFrame], out: Path) -> None:
    foreign = task.image_outputs.writers.get(out.suffix.lower())
    if foreign:
        foreign(pd.concat(frames, ignore_index=True), out)
        return
    with table_writers.writing(out) as write:
        for frame in frames:
            write(frame)


def _read_ahead(
    task: Task, sources: list[Source], options
) -> Iterator[tuple[Source, Reading | UserError]]:
    """Gives each source and what reading it gave, while the next one is being read."""

    def read(source: Source) -> Reading | UserError:
        try:
            return task.read(source, options)
        except UserError as error:
            return error

    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for source in sources:
            ahead = (source, pool.submit(read, source))
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = ahead
        if waiting:
            yield waiting[0], waiting[1].result()


def _drawn(task: Task, source: Source, frames: Iterator[pd.DataFrame], out: Path, *, options):
    """Returns the path of a source's own picture with the answers in it, written; None for none."""
    told = list(frames) if task.image_outputs.overlay else []
    if not told:
        return None
    picture = task.image_outputs.overlay(source, pd.concat(told, ignore_index=True), options)
    if picture is None:
        return None
    # Its folders go into the name: those of two nights may hold files of the same name.
    path = out.with_suffix("") / f"{source.name.replace('/', '_')}.png"
    base_images.write_png(picture, path)
    return path


def _about(example: Example) -> dict:
    return {"key": example.key, "group": example.group, **example.metadata}


def _embedded(loaded, images: np.ndarray, numbers: np.ndarray) -> pd.DataFrame:
    embedding = loaded.embed(images, numbers)
    return pd.DataFrame(embedding, columns=[f"embedding_{i}" for i in range(embedding.shape[1])])
