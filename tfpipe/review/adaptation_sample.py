"""Sample of an adaptation: new images to label, some to train on, others to test on."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tfpipe.base import files, storage, tables
from tfpipe.base.errors import UserError
from tfpipe.base.progress import Reporter, silent
from tfpipe.data import added_records
from tfpipe.data.added_records import AddedImages
from tfpipe.evaluation import label_selection
from tfpipe.registry import previous_version, store
from tfpipe.registry.card import VersionCard
from tfpipe.review import inspection_sample
from tfpipe.review.inspection_sample import PREDICTIONS, InspectionFolder, InspectionPlan
from tfpipe.tasks.annotations.decisions import Decision
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.task import Survey, Task

LABELS = 256  # were enough for another camera (Touloupas et al. 2020, doi:10.5194/amt-13-2219-2020)
TEST_SHARE = 1 / 3  # of the labels and of the groups, kept out of training
SPLITS = "splits.csv"  # of the drawn images
MIN_LABELS = 10  # to train on, and as many to test on


class SampleLabels(NamedTuple):
    """Labels of new images.

    Attributes:
      added: the images with a label.
      n_open: number of drawn images that nobody has answered about.
      n_left_out: of those that could not be identified, or that judges do not agree on.
    """

    added: AddedImages
    n_open: int
    n_left_out: int


def open_or_draw(
    task: Task,
    version: Path,
    paths: list[Path],
    *,
    predict: Callable[..., Any],
    labels: int | None = None,
    seed: int | None = None,
    default_seed: int = 0,
    options: dict[str, Any] | None = None,
    out: Path | None = None,
    raw: Path | None = None,
    report: Reporter = silent,
) -> InspectionFolder:
    """Returns the images to label, drawn now if they have not been.

    A third of the new groups is kept out of training, and their images are drawn at random. Of the
    others, images are drawn that are diverse and that the version is not certain of.

    Args:
      task: a task that predicts images one by one.
      version: folder of the version.
      paths: new files and folders, of two groups at least.
      predict: (paths, out, options, embedding) writes the table of predictions, and returns what
        it did.
      labels: images to label; None for `LABELS`, or as drawn.
      seed: of the draw; None for `default_seed`, or as drawn.
      default_seed: of a new draw.
      options: task options by name, over those of the version.
      out: folder; None for one beside the version.
      raw: folder of the version's raw files, none of which may be drawn; None where it is gone.
      report: receives the stage "draw".

    Raises:
      UserError: there is one group only, the folder holds another draw, or the task predicts whole
        files.
    """
    if task.whole_file is not None:
        raise UserError(
            f"{task.name} predicts whole files, and a version is adapted to single images. Put the "
            "files into the raw folder, label them by `tfpipe review`, and run `tfpipe retrain`."
        )
    if not paths:
        raise UserError("Name the new files or folders that the version is to be adapted to.")
    name = files.shown(paths[0].absolute().name)  # pyarrow opens paths of valid text only
    folder = out or version.with_name(f"adapt-{version.name}-{name}")
    if storage.storage_of(folder):
        raise UserError(
            "Labels are added one by one, so an adaptation must be in a folder of this machine. "
            "Name one by --out."
        )
    absolute = tuple(str(path.absolute()) for path in paths)
    settings = {name: str(value) for name, value in (options or {}).items()}
    card = store.read_card(version)
    plan = InspectionPlan(
        task.name,
        version.parent.name,
        card.version,
        classes=card.classes,
        files=absolute,
        per_class=labels or LABELS,
        seed=default_seed if seed is None else seed,
        options=settings,
    )
    if opened := inspection_sample.open_folder(folder):
        drawn = opened.plan
        same = replace(
            plan,
            seed=drawn.seed if seed is None else seed,
            per_class=labels or drawn.per_class,
        )
        if same != drawn:
            raise UserError(
                f"{files.shown(folder)} holds {drawn.per_class} images to label that were drawn "
                f"from {drawn.shown_files} by version {drawn.version} of {drawn.model}, seed "
                f"{drawn.seed}. Ask for the same (--version {drawn.version}), or give another "
                "--out."
            )
        return opened
    if raw is not None:
        added_records.check_new(_survey(task, card, plan)[0].sources, raw)
    made = predict(absolute, out=folder / PREDICTIONS, options=options, embedding=True)
    inspection_sample.warn_of(made)
    predicted = pd.read_parquet(folder / PREDICTIONS)
    trained = previous_version.training_groups(version)
    splits = choose(predicted, card, count=plan.per_class, seed=plan.seed, trained=trained)
    tables.write_csv(splits, folder / SPLITS)
    task = replace(task, classes=card.classes, columns=card.columns)
    return inspection_sample.draw(
        task,
        plan,
        folder,
        rows=splits["row"].to_numpy(),
        trained_options=card.options,
        report=report,
    )


def choose(
    predicted: pd.DataFrame,
    card: VersionCard,
    *,
    count: int,
    seed: int,
    trained: Collection[str] = (),
) -> pd.DataFrame:
    """Returns the images to label: row of the predictions, key, group, split.

    Args:
      predicted: a row for each new image: key, group, p_<class>, embedding_<i>.
      card: the version's.
      count: images to choose.
      seed: of the choice.
      trained: groups that the version was trained on, which are never kept out.

    Raises:
      UserError: there are too few groups or images, or groups are unknown.
    """
    groups = _groups(predicted, card)
    if len(np.unique(groups)) < 2:
        raise UserError(
            "The new images are of one group, and some group must be kept out of training to see "
            "whether a version has become better. Give files of two groups or more."
        )
    if {*groups.tolist()} <= {*trained}:
        raise UserError(
            f"Version {card.version} was trained on all groups of the new images, so none can tell "
            "whether another one is better. Give files of a further group, or other names where "
            "only the names are the same."
        )
    rng = np.random.default_rng(seed)
    train, test = label_selection.divide_groups(groups, share=TEST_SHARE, rng=rng, trained=trained)
    in_train, in_test = (np.flatnonzero(np.isin(groups, names)) for names in (train, test))
    n_test = round(TEST_SHARE * count)
    embedding = predicted.filter(regex=r"^embedding_\d+$").to_numpy(np.float32)
    probabilities = predicted[[f"p_{name}" for name in card.classes]].to_numpy(float)
    to_train = label_selection.choose_to_train(
        embedding[in_train],
        probabilities[in_train],
        groups[in_train],
        count=count - n_test,
        rng=rng,
    )
    to_test = label_selection.choose_to_test(groups[in_test], count=n_test, rng=rng)
    rows = np.concatenate([in_train[to_train], in_test[to_test]])
    split = ["train"] * len(to_train) + ["test"] * len(to_test)
    keys = predicted["key"].iloc[rows]
    return pd.DataFrame({"row": rows, "key": keys, "group": groups[rows], "split": split})


def _groups(predicted: pd.DataFrame, card: VersionCard) -> np.ndarray:
    """Returns the group [n] str of each new image: its folder, where each is a group of its own.

    Raises:
      UserError: it is not known which images belong together.
    """
    groups = predicted["group"].to_numpy(str)
    alone = predicted["group"] == predicted["key"]
    if not alone.any():
        return groups
    folders = np.array([str(Path(key).parent) for key in predicted["key"]])
    if alone.all() and len(np.unique(folders)) > 1:
        return folders
    by_name = ", or name the group in their names by -o group_from=REGEX"
    raise UserError(
        f"{alone.sum():,} of {len(alone):,} new images are groups of their own, such as "
        f"{predicted['key'][alone].iloc[0]}, so near-copies would be trained on and tested on. Put "
        "the images of each run, flight or site into a folder of its own and name these folders"
        f"{by_name if 'group_from' in card.options else ''}."
    )


def labels_of(
    folder: InspectionFolder, task: Task, card: VersionCard, *, only_test: bool = False
) -> SampleLabels:
    """Returns the labels that judges have given so far.

    Args:
      folder: the drawn images.
      task: theirs.
      card: of the version that is adapted.
      only_test: whether only those of the images that are kept out of training are needed.

    Raises:
      UserError: they are too few to train on, or to test on.
    """
    plan, sample = folder.plan, folder.sample
    drawn = tables.read_csv(folder.path / SPLITS, text={"key", "group", "split"}).set_index("key")
    splits = drawn["split"]
    key_of = dict(zip(sample["image"], sample["key"], strict=True))
    by_key: dict[str, list[Decision]] = {}
    for judge in folder.judges:
        for image, decision in folder.answers(judge).items():
            by_key.setdefault(key_of[image], []).append(decision)
    decided = {
        key: given[0]._replace(what=key, state="validated")
        for key, given in by_key.items()
        if len({one.label for one in given}) == 1 and given[0].label in plan.classes
    }
    needed = (("train", "train on"), ("test", "test on"))
    for split, what in needed[1:] if only_test else needed:
        n_labels = sum(splits[key] == split for key in decided)
        if n_labels < MIN_LABELS:
            raise UserError(
                f"There are {n_labels} labels to {what}, expected {MIN_LABELS} at least "
                f"({len(decided)} of {len(sample)} images have one). Label more on the page."
            )
    if only_test:
        decided = {key: one for key, one in decided.items() if splits[key] == "test"}
    survey, options = _survey(task, card, plan)
    columns = survey.columns or task.columns
    skipped = {*folder.skipped}
    added = AddedImages(
        tuple(source for source in survey.sources if source.name not in skipped),
        columns,
        decided,
        {key: splits[key] for key in decided},
        options,
        {key: drawn["group"][key] for key in decided},
    )
    return SampleLabels(added, len(sample) - len(by_key), len(by_key) - len(decided))


def _survey(task: Task, card: VersionCard, plan: InspectionPlan) -> tuple[Survey, Any]:
    """Returns the new files, and the options of their draw."""
    settings = {**card.options, **plan.options}
    options = parse_options(task, [f"{name}={value}" for name, value in settings.items()])
    return task.survey_new([Path(file) for file in plan.files], None, options), options
