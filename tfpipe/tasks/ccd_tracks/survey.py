"""Finds what a ccd-tracks folder holds: exposures, or ready-cut clusters."""

import os
from pathlib import Path

from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks import cluster_files, fits_io, label_table
from tfpipe.tasks.ccd_tracks.options import Options, section_of, wanted_classes
from tfpipe.tasks.ccd_tracks.reader import Clusters, Marked
from tfpipe.tasks.task import Source, Survey

BATCH = 200  # new clusters that are read at once


def survey(folder: Path, options: Options) -> Survey:
    """Reads names and tables; finds no track yet.

    Args:
      folder: holds exposures, in folders or not, and perhaps labels.csv; or clusters/ and
        labels.csv.
      options: the user's.

    Returns:
      A source for each exposure, its group; or for each ready-cut cluster. Rotated copies are made
      in training only, so a cluster never stands on both sides of a split, as in seed 001.

    Raises:
      UserError: naming file and line, where a table is damaged or contradicts itself.
    """
    section_of(options)
    if not folder.is_dir():
        raise UserError(
            f"{files.shown(folder)} is no folder. `tfpipe tasks NAME` says what goes in it."
        )
    table = folder / cluster_files.TABLE
    known = (table,) if table.is_file() else ()
    if (folder / cluster_files.FOLDER).is_dir():
        clusters, notes = cluster_files.listed(folder)
        classes, more = _classes([one.label for one in clusters], options)
        clusters, filled = cluster_files.with_energies(clusters, options)
        sources = [
            Source(
                f"{cluster_files.FOLDER}/{one.name}", one.name, one.path, Clusters((one,), classes)
            )
            for one in clusters
        ]
        return _survey(sources, known, [*notes, *more, *filled], classes, options)
    paths = _exposures(folder)
    if not paths:
        raise UserError(
            f"{files.shown(folder)} holds no exposures ({', '.join(fits_io.SUFFIXES)}) and no "
            f"{cluster_files.FOLDER}/. `tfpipe tasks NAME` says what goes in it."
        )
    marks, notes = label_table.read(table, names=list(paths)) if known else ({}, [])
    classes, more = _classes([mark.label for own in marks.values() for mark in own], options)
    sources = [
        Source(name, name, path, Marked(tuple(marks.get(name, ())), classes))
        for name, path in paths.items()
    ]
    return _survey(sources, known, [*notes, *more], classes, options)


def survey_new(paths: list[Path], table: Path | None, options: Options) -> Survey:
    """Finds new exposures and clusters; labels are not looked for.

    Args:
      paths: exposures, folders of them, folders of clusters, or matrices.
      table: unused: nothing needs to be known of exposures.
      options: the user's.

    Raises:
      UserError: a path does not exist, or holds neither.
    """
    section_of(options)
    sources, notes, loose = [], [], []
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise UserError(f"{files.shown(path)} does not exist. Give exposures or clusters.")
        if path.is_file() and path.suffix.lower() == ".csv":
            loose.append(cluster_files.Cluster(path, path.stem))
        elif path.is_file():
            sources.append(Source(path.name, path.name, path, Marked()))
        elif inside := _exposures(path):
            sources += [Source(name, name, one, Marked()) for name, one in inside.items()]
        else:
            clusters, more = cluster_files.listed(path)
            notes += more
            loose += [one._replace(label="") for one in clusters]
    if loose:
        clusters, more = cluster_files.with_energies(loose, options)
        notes += more
        for start in range(0, len(clusters), BATCH):
            batch = clusters[start : start + BATCH]
            name = f"{cluster_files.FOLDER}-{start // BATCH:05d}"
            also = tuple(one.path for one in batch[1:])
            sources.append(Source(name, name, batch[0].path, Clusters(tuple(batch)), also))
    return _survey(sources, (), notes, (), options)


def _survey(sources, known, notes, classes, options: Options) -> Survey:
    return Survey(
        tuple(sources),
        tuple(known),
        tuple(notes),
        twins=tuple(_twins(sources)),
        classes=classes,
        image_shape=(options.side, options.side, 1),
    )


def _exposures(folder: Path) -> dict[str, Path]:
    """Returns the exposures in and under a folder by their paths from there."""
    found = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if fits_io.is_exposure(path):
                found[path.relative_to(folder).as_posix()] = path
    return found


def _classes(written: list[str], options: Options) -> tuple[tuple[str, ...], list[str]]:
    """Returns the classes to tell apart, sorted, and a note on those not asked for."""
    there = sorted({*written} - {""})
    wanted = wanted_classes(options) or tuple(there)
    for name in wanted:
        choose(name, there, noun="class in labels.csv")
    others = [f"{name} ({written.count(name)})" for name in there if name not in wanted]
    notes = [f"Classes not asked for count as unlabelled: {', '.join(others)}."] if others else []
    if not there:
        notes.append("Nothing is labelled: explore works, telling classes apart does not.")
    return tuple(name for name in there if name in wanted), notes


def _twins(sources: list[Source]) -> list[tuple[str, str, str]]:
    """Returns the pairs of exposures whose files are the same, byte by byte.

    Small clusters are alike without being copies, so only exposures are looked at.
    """
    by_size: dict[int, list[Source]] = {}
    for source in sources:
        if isinstance(source.about, Marked):
            by_size.setdefault(source.path.stat().st_size, []).append(source)
    pairs = []
    for alike in by_size.values():
        first: dict[str, Source] = {}
        for source in alike if len(alike) > 1 else ():
            one = first.setdefault(files.sha256(source.path), source)
            if one is not source:
                pairs.append((one.name, source.name, "the same file twice"))
    return pairs
