"""Scores of the defaults on data sets that others have published, beside their scores.

    python benchmarks/public.py realdata --out FOLDER [--sets volcanic-ash digits]
        [--write docs/benchmarks.md]

The folder has `ice-crystals/2ds` and `ice-crystals/pip` (Jaffeux et al. 2022,
doi:10.5194/amt-15-5141-2022), `volcanic-ash` (Shoji et al. 2018, doi:10.1038/s41598-018-26200-2),
`insolubles`, `ccd-tracks` and `ionization`; those that lack are left out and named. Digits are
those of scikit-learn. Each is packed and trained by `tfpipe train` with its defaults, unless FOLDER
has its version. No set had a part in another's training; the recipe was chosen on validation
splits, see `tuning.compact_resnet`.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import machine
import numpy as np
from sklearn.datasets import load_digits

import tfpipe
from tfpipe.data import manifest as data_manifest

SAMPLES = r"^([^_\s-]+)[_\s-]"  # NP15113001 of NP15113001_3-5x-R42_revised_166.jpg
HEADINGS = (
    "set",
    "groups: train, validation, test",
    "test images",
    "balanced accuracy",
    "accuracy (95 %)",
    "by a random split",
    "published",
    "time",
)


@dataclass(frozen=True)
class PublicSet:
    """A data set, and what its authors published.

    Attributes:
      name: of the row.
      task: of `tfpipe train`; a path within the folder for a folder of images.
      raw: its raw files within the folder, which the task finds in data/raw; "" for a folder task.
      options: of packing.
      published: score and split, as published.
    """

    name: str
    task: str
    raw: str = ""
    options: dict[str, str] = field(default_factory=dict)
    published: str = "none"


CONFLICTS = {"conflicts": "leave-out"}
SETS = (
    PublicSet("ice crystals, PIP", "ice-crystals/pip", options=CONFLICTS),
    PublicSet(
        "volcanic ash, by sample",
        "volcanic-ash",
        options={"group_from": SAMPLES},
        published="over 0.90, at random splits",
    ),
    PublicSet("ice crystals, 2DS", "ice-crystals/2ds", options=CONFLICTS),
    PublicSet("digits", "digits"),
    PublicSet(
        "CCD tracks, 5 classes",
        "ccd-tracks",
        raw="ccd-tracks",
        published="0.67, random forest on 4 columns, by cluster",
    ),
    PublicSet(
        "FlowCam particles",
        "insolubles",
        raw="insolubles",
        published="0.95 to 0.96, another set (seed 000), at random",
    ),
    PublicSet(
        "21 cm slices, 17 redshifts",
        "ionization-redshift",
        raw="ionization",
        options={"test_seeds": "13"},
        published="0.48, another grid, slices of one cube on both sides",
    ),
)


def main() -> None:
    """Trains on each set, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of records and versions")
    parser.add_argument("--write", type=Path, help="Markdown file that gets the rows")
    parser.add_argument("--sets", nargs="*", help="tasks of the sets to measure; all by default")
    arguments = parser.parse_args()
    rows = []
    for one in SETS:
        if arguments.sets and one.task not in arguments.sets:
            continue
        if one.task != "digits" and not (arguments.folder / (one.raw or one.task)).is_dir():
            print(f"{one.name}: left out, {arguments.folder / (one.raw or one.task)} is not there.")
            continue
        rows.append(row_of(one, *trained(one, arguments.folder, out=arguments.out)))
        print(dict(zip(HEADINGS, rows[-1], strict=True)), flush=True)
    statement = stated(machine.about())
    print("\n".join([*table(rows), "", statement]))
    if arguments.write:
        page = updated(arguments.write.read_text(), rows, statement)
        arguments.write.write_text(page)


def updated(page: str, rows: list[list[str]], statement: str) -> str:
    """Returns a page with the rows of a run; rows and sentences of other sets and runs stay."""
    head, mark, tail = page.partition("<!-- table -->")
    before = [line.strip("| ").split(" | ") for line in tail.splitlines() if line.startswith("|")]
    by_name = {row[0]: row for row in [*before[2:], *rows]}
    ordered = [by_name[one.name] for one in SETS if one.name in by_name]
    sentences = [line for line in tail.splitlines() if line.startswith("`") and line != statement]
    lines = [*table(ordered), "", *[f"{line}\n" for line in [*sentences, statement]]]
    return f"{head}{mark}\n\n" + "\n".join(lines).rstrip("\n") + "\n"


def trained(one: PublicSet, folder: Path, *, out: Path) -> tuple[tfpipe.Version, dict, dict]:
    """Returns a set's version, its groups in each split, and the seconds that training took."""
    project = tfpipe.Project(data=out / "data", saved_models=out / "saved_models")
    task = one.task if one.raw else str(folder / one.task)
    if one.raw:
        linked(folder / one.raw, out / "data" / "raw" / one.task)
    elif one.task == "digits":
        task = str(drawn_digits(out / "digits"))
    times = out / f"{one.task.replace('/', '-')}.json"
    if not times.is_file():
        start, before = time.monotonic(), os.times()
        project.train(task, packing=tfpipe.PackingConfig(options=one.options))
        after = os.times()
        used = sum(after[:4]) - sum(before[:4])
        seconds = {"wall_s": time.monotonic() - start, "processor_s": used}
        times.write_text(json.dumps(seconds))
    version = project.version(task)
    manifest = project.records(version.task).manifest
    return version, manifest.groups, json.loads(times.read_text())


def linked(raw: Path, link: Path) -> None:
    """Makes a folder of links to the raw files of a task, without what is no raw file."""
    if link.is_dir():
        return
    link.mkdir(parents=True)
    for path in raw.iterdir():
        if raw.name != "ionization" or path.name.startswith("bank_"):
            (link / path.name).symlink_to(path.resolve())


def drawn_digits(folder: Path) -> Path:
    """Returns a folder of scikit-learn's digits, 8 x 8 px, in class folders."""
    digits = load_digits()
    shutil.rmtree(folder, ignore_errors=True)
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), (image * 15.9375).astype(np.uint8))
    return folder


def row_of(one: PublicSet, version: tfpipe.Version, groups: dict, seconds: dict) -> list[str]:
    """Returns the cells of a set's row."""
    card = version.card
    test = card.metrics["test"]
    ends = card.confidence_intervals.get("accuracy")
    interval = f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""
    claimed = card.random_split_scores.get("balanced_accuracy")
    minutes = seconds["wall_s"] / 60
    is_single = data_manifest.are_single(groups, card.data.counts)
    return [
        one.name,
        ", ".join(str(groups[split]) for split in ("train", "validation", "test")),
        str(test["examples"]),
        f"{test['balanced_accuracy']:.3f}",
        f"{test['accuracy']:.3f}{interval}",
        f"{claimed:.3f}" if claimed else "the same: each image is a group" if is_single else "",
        one.published,
        f"{minutes:.0f} min ({seconds['processor_s'] / 60:.0f} of a core)",
    ]


def table(rows: list[list[str]]) -> Iterator[str]:
    """Yields the lines of a Markdown table."""
    yield f"| {' | '.join(HEADINGS)} |"
    yield f"|{'---|' * len(HEADINGS)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def stated(about: dict) -> str:
    """Returns a sentence on the machine and the command."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"`{about['command']}` on {about['cores']} cores, {about['processor']}; load before "
        f"{about['load']}; Python {about['python']}, {versions}."
    )


if __name__ == "__main__":
    main()
