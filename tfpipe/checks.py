"""What packed records must pass before they get their name."""

from pathlib import Path

import numpy as np

from tfpipe import leaks, manifests
from tfpipe.errors import UserError
from tfpipe.task import SPLITS, Survey, Task, split_of_source


def classes(task: Task, abouts: list[dict], jobs) -> None:
    """Raises a UserError with the counts if a split lacks a class, or has nothing at all.

    It says which options help.
    """
    counts = manifests.counts(task, abouts)
    lacking = [f"{s} has no {c}" for s in SPLITS for c in task.classes if not counts[s][c]]
    lacking = lacking or [f"{s} has no example" for s in SPLITS if not sum(counts[s].values())]
    if not lacking:
        return
    table = "; ".join(
        f"{split}: {', '.join(f'{n} {c}' for c, n in counts[split].items())}" for split in SPLITS
    )
    groups = len({source.group for _, _, sources in jobs for source in sources})
    raise UserError(
        f"Every split needs every class, but {', '.join(lacking)} ({table}; {groups} groups). "
        "Add data, draw another split by --salt WORD, or change its shares by --split 50/25/25."
    )


def classifiable(manifest: dict) -> None:
    """Raises a UserError if packed records have nothing that a classifier could tell apart."""
    if len(manifest["classes"]) > 1:
        return
    counts = [sum(split.values()) for split in manifest["counts"].values()]
    unlabelled = sum(split.get("(unlabelled)", 0) for split in manifest["counts"].values())
    there = ", ".join(manifest["classes"]) or "none"
    raise UserError(
        f"A classifier needs two classes or more, but the records have {there}: {unlabelled} of "
        f"{sum(counts)} examples are unlabelled. Label more of them and pack again, or train an "
        "autoencoder, which needs no labels."
    )


def crossings(survey: Survey, abouts: list[dict], parts: Path, *, split) -> None:
    """Raises a UserError that names the pairs if the same thing stands in two splits.

    Args:
      survey: its twins show the same thing by the tables.
      abouts: what each shard holds, and its split.
      parts: the folder of the shards' perceptual hashes.
      split: fractions and salt.
    """
    fractions, salt = split
    splits = {s.name: split_of_source(s, fractions=fractions, salt=salt) for s in survey.sources}
    found = [
        f"{a} ({splits[a]}) and {b} ({splits[b]}): {why}"
        for a, b, why in survey.twins
        if splits[a] != splits[b]
    ]
    prints, groups = {}, {}
    for name in SPLITS:
        inside = [about for about in abouts if about["split"] == name]
        packed = b"".join((parts / f"{about['name']}.hashes").read_bytes() for about in inside)
        rows = np.frombuffer(packed, np.uint8).reshape(-1, leaks.PACKED)
        prints[name] = leaks.unpacked(rows)
        groups[name] = np.array([group for about in inside for group in about["groups"]], object)
    found += leaks.crossings(prints, groups)
    if found:
        more = f" and {len(found) - 5} more pairs" if len(found) > 5 else ""
        raise UserError(
            f"The same thing stands in two splits, so no score could be believed: "
            f"{'; '.join(found[:5])}{more}. Remove one of each pair, or put both in one group."
        )
