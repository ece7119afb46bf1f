"""Survey of a ccd-tracks folder: exposures, or ready-cut clusters."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.tasks.ccd_tracks import cluster_files, fits_io, label_table
from tfpipe.tasks.ccd_tracks.options import CcdTracksOptions, class_names, section_of
from tfpipe.tasks.ccd_tracks.reader import ClusterBatch, ExposureLabels
from tfpipe.tasks.source_names import unique_names
from tfpipe.tasks.task import Source, Survey

BATCH = 200  # new clusters that are read together
LEAST_COPY_PX = 40  # of a cluster that cannot look like another by chance


def survey(folder: Path, options: CcdTracksOptions) -> Survey:
    """Lists exposures or clusters and reads their tables; no track is searched yet.

    Args:
      folder: has exposures, in folders or not, and perhaps labels.csv; or clusters/ and
        labels.csv.
      options: the user's.

    Returns:
      A source for each exposure, which is its own group, or for each ready-cut cluster. Rotated
      copies are made in training only, so a cluster is never on both sides of a split, as it was
      in Preuss et al. (seed document 001).

    Raises:
      UserError: naming file and line, where a table is damaged or contradicts itself.
    """
    section_of(options)
    if not folder.is_dir():
        raise UserError(
            f"{files.shown(folder)} is no folder. `tfpipe tasks ccd-tracks` says what to put in it."
        )
    has_clusters = (folder / cluster_files.FOLDER).is_dir()
    columns = cluster_files.CLUSTER_COLUMNS if has_clusters else label_table.COLUMNS
    table = cluster_files.find_table(folder, columns)
    label_tables = (table,) if table else ()
    if has_clusters:
        clusters, notes = cluster_files.list_clusters(folder)
        classes, more = _classes([cluster.label for cluster in clusters], options)
        clusters, adu_per_px, filled = cluster_files.fill_energies(clusters, options)
        options = replace(options, adu_per_px=adu_per_px)
        group_of, copies = _groups(clusters)
        notes += copies
        sources = [
            Source(
                f"{cluster_files.FOLDER}/{cluster.name}",
                group_of[cluster.name],
                cluster.path,
                ClusterBatch((cluster,), classes),
                strata=(cluster.label,) if cluster.label else (),
            )
            for cluster in clusters
        ]
        return _survey(sources, label_tables, [*notes, *more, *filled], classes, options)
    paths = _exposures(folder)
    if not paths:
        raise UserError(
            f"{files.shown(folder)} holds no exposures ({', '.join(fits_io.SUFFIXES)}) and no "
            f"{cluster_files.FOLDER}/. `tfpipe tasks ccd-tracks` says what to put in it."
        )
    labels: dict[str, list[label_table.PointLabel]] = {}
    notes = []
    if table:
        labels, notes = label_table.read(table, names=list(paths))
    written = [label.label for points in labels.values() for label in points]
    classes, more = _classes(written, options)
    sources = []
    for name, path in paths.items():
        points = tuple(labels.get(name, ()))
        strata = tuple(sorted({point.label for point in points} & {*classes}))
        sources.append(Source(name, name, path, ExposureLabels(points, classes), strata=strata))
    return _survey(sources, label_tables, [*notes, *more], classes, options)


def survey_new(paths: list[Path], table: Path | None, options: CcdTracksOptions) -> Survey:
    """Lists new exposures and clusters, without labels.

    Args:
      paths: exposures, folders of them, folders of clusters, or matrices.
      table: unused, as exposures need none.
      options: the user's.

    Returns:
      The sources, each exposure or cluster once, by unique names: exposures or clusters of two
      folders that are called alike have their folders in their names.

    Raises:
      UserError: a path does not exist, or has neither.
    """
    section_of(options)
    exposures: list[tuple[Path, str]] = []
    notes: list[str] = []
    unlabelled: list[cluster_files.Cluster] = []
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise UserError(f"{files.shown(path)} does not exist. Give exposures or clusters.")
        if path.is_file() and path.suffix.lower() == ".csv":
            unlabelled.append(cluster_files.Cluster(path, path.stem))
        elif path.is_file():
            exposures.append((path, path.name))
        elif inside := _exposures(path):
            exposures += [(file, name) for name, file in inside.items()]
        else:
            clusters, more = cluster_files.list_clusters(path)
            notes += more
            unlabelled += [cluster._replace(label="") for cluster in clusters]
    named = unique_names(exposures)
    sources = [Source(name, name, path, ExposureLabels()) for path, name in named.items()]
    if unlabelled:
        ids = unique_names((cluster.path, cluster.name) for cluster in unlabelled)
        by_path = {cluster.path: cluster for cluster in reversed(unlabelled)}
        unlabelled = [by_path[path]._replace(name=name) for path, name in ids.items()]
        clusters, _, more = cluster_files.fill_energies(unlabelled, options)
        notes += more
        for start in range(0, len(clusters), BATCH):
            batch = clusters[start : start + BATCH]
            name = f"{cluster_files.FOLDER}-{start // BATCH:05d}"
            also = tuple(cluster.path for cluster in batch[1:])
            sources.append(Source(name, name, batch[0].path, ClusterBatch(tuple(batch)), also))
    return _survey(sources, (), notes, (), options)


def _survey(
    sources: list[Source],
    label_tables: tuple[Path, ...],
    notes: list[str],
    classes: tuple[str, ...],
    options: CcdTracksOptions,
) -> Survey:
    return Survey(
        tuple(sources),
        label_tables,
        tuple(notes),
        duplicates=tuple(_duplicates(sources)),
        classes=classes,
        image_shape=(options.side, options.side, 1),
        options=options,
    )


def _exposures(folder: Path) -> dict[str, Path]:
    """Returns the exposures in and under a folder by their paths from there."""
    paths = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if fits_io.is_exposure(path):
                paths[path.relative_to(folder).as_posix()] = path
    return paths


def _classes(written: list[str], options: CcdTracksOptions) -> tuple[tuple[str, ...], list[str]]:
    """Returns the classes to predict, sorted, and notes on those that are not used."""
    every = sorted({*written} - {""})
    used = class_names(options) or tuple(every)
    for name in used:
        choose(name, every, noun="class in labels.csv")
    others = [f"{name} ({written.count(name)})" for name in every if name not in used]
    notes = (
        [f"Classes that are not used count as unlabelled: {', '.join(others)}."] if others else []
    )
    if not every:
        notes.append("Nothing is labelled, so explore works and classification does not.")
    return tuple(name for name in every if name in used), notes


def _groups(clusters: list[cluster_files.Cluster]) -> tuple[dict[str, str], list[str]]:
    """Returns cluster -> group, the same for turned and mirrored copies; and a note on these.

    Small clusters look alike without being copies, discs up to 33 px in the data of seed document
    001, so only larger ones are compared.
    """
    first: dict[tuple, str] = {}
    group_of = {}
    for cluster in clusters:
        mask = cluster_files.read_mask(cluster.path)
        group_of[cluster.name] = cluster.name
        if mask.sum() >= LEAST_COPY_PX:
            turns = [np.rot90(one, i) for one in (mask, mask.T) for i in range(4)]
            shape = min((turned.shape, np.packbits(turned).tobytes()) for turned in turns)
            group_of[cluster.name] = first.setdefault(shape, cluster.name)
    copies = [name for name, group in group_of.items() if name != group]
    if not copies:
        return group_of, []
    more = f" and {len(copies) - 12} more" if len(copies) > 12 else ""
    return group_of, [
        f"{len(copies)} clusters are turned or mirrored copies of others, so they share a group "
        f"and a split: {', '.join(copies[:12])}{more}."
    ]


def _duplicates(sources: list[Source]) -> list[tuple[str, str, str]]:
    """Returns the pairs of exposures whose files are equal byte by byte.

    Small clusters look alike without being copies, so only exposures are compared.
    """
    by_size: dict[int, list[Source]] = {}
    for source in sources:
        if isinstance(source.about, ExposureLabels):
            by_size.setdefault(source.path.stat().st_size, []).append(source)
    pairs = []
    for same_size in by_size.values():
        first: dict[str, Source] = {}
        for source in same_size if len(same_size) > 1 else ():
            original = first.setdefault(files.sha256(source.path), source)
            if original is not source:
                pairs.append((original.name, source.name, "the same file twice"))
    return pairs
