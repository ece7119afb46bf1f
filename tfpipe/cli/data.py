"""The commands about data: init, sample, check, pack, repack, verify."""

import shlex
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tfpipe.cli import completion, options

melt_layer = partial(typer.Option, rich_help_panel="melt-layer")
insolubles = partial(typer.Option, rich_help_panel="insolubles")
ccd_tracks = partial(typer.Option, rich_help_panel="ccd-tracks")
folds = partial(typer.Option, rich_help_panel="folds")
ionization = partial(typer.Option, rich_help_panel="ionization")


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder to be made; it must be new or empty.")
    ],
    task: Annotated[
        str,
        typer.Option(
            help="Name of a task (`tfpipe tasks` lists them).", autocompletion=completion.tasks
        ),
    ],
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Makes a project folder: raw files of a small example, run.yaml, README."""
    from tfpipe.workflows import project_folder

    made = project_folder.create(folder, task=task, seed=seed)
    shown = made["drawn"] | {"files": made["files"]}
    options.done(json, command="init", task=task, path=folder, raw=made["raw"], **shown)
    if not json:
        options.next_steps(f"cd {shlex.quote(str(folder))}", "tfpipe check", "tfpipe tune --quick")


def sample(
    task: options.TaskName,
    photos: Annotated[int | None, melt_layer(help="Number of photos (default 24).")] = None,
    px_per_m: Annotated[float | None, melt_layer(help="Pixels per metre (default 2000).")] = None,
    format: Annotated[
        str | None, melt_layer(help="Files as csv, or as those of the core: eastgrip.")
    ] = None,
    runs: Annotated[int | None, insolubles(help="Labelled runs (default 12).")] = None,
    field_runs: Annotated[int | None, insolubles(help="Unlabelled runs (default 2).")] = None,
    particles: Annotated[
        int | None, insolubles(help="Particles per labelled run (default 300).")
    ] = None,
    exposures: Annotated[int | None, ccd_tracks(help="Number of exposures (default 12).")] = None,
    tracks: Annotated[int | None, ccd_tracks(help="Tracks per exposure (default 60).")] = None,
    frame_px: Annotated[
        int | None, ccd_tracks(help="Side of an exposure in pixels (default 512).")
    ] = None,
    outcrops: Annotated[int | None, folds(help="Outcrops per class (default 30).")] = None,
    crops: Annotated[int | None, folds(help="Images per outcrop (default 4).")] = None,
    simulations: Annotated[int | None, ionization(help="Simulation seeds (default 3).")] = None,
    cells: Annotated[int | None, ionization(help="Cells per side of a cube (default 40).")] = None,
    data: options.Data = options.DATA,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Draws a small raw data set in the task's own format, with the truth beside it."""
    folder = data / "raw" / task
    counts = options.project(data, seed=seed).sample(
        task,
        photos=photos,
        px_per_m=px_per_m,
        format=format,
        runs=runs,
        field_runs=field_runs,
        particles=particles,
        exposures=exposures,
        tracks=tracks,
        frame_px=frame_px,
        outcrops=outcrops,
        crops=crops,
        simulations=simulations,
        cells=cells,
    )
    options.done(json, command="sample", task=task, path=folder, **counts)


def pack(
    task: options.TaskHere,
    option: options.Option = None,
    split: options.Split = options.SHARES,
    salt: options.Salt = "",
    skip_bad: options.SkipBad = 0,
    shards: Annotated[
        str | None,
        typer.Option(metavar="N|auto", help="Shards of each split (default: as before)."),
    ] = None,
    runner: Annotated[
        str | None,
        typer.Option(help="Runner of Apache Beam that packs, such as DaskRunner (extra: beam)."),
    ] = None,
    beam_option: options.BeamOption = None,
    data: options.Data = options.DATA,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Packs raw files into records. A stopped run resumes with the same command."""
    loaded = options.project(data).resolve(task)
    packing = options.packing(option, split, salt, skip_bad)
    beam_options = options.beam_settings(beam_option, runner)
    records = options.project(data, seed=seed).pack(
        loaded,
        options=packing.options,
        split=packing.split,
        skip_bad=skip_bad,
        shards=shards,
        runner=runner,
        beam_options=beam_options,
    )
    options.print_notes(records.manifest)
    summary = {
        name: getattr(records.manifest, name)
        for name in ("counts", "groups", "left_out", "notes", "unreadable", "fingerprint")
        if json or name not in ("left_out", "notes", "unreadable")  # printed above
    }
    options.done(json, command="pack", task=loaded.name, path=records.path, **summary)


def check(
    task: options.TaskHere,
    option: options.Option = None,
    split: options.Split = options.SHARES,
    salt: options.Salt = "",
    data: options.Data = options.DATA,
    json: options.Json = False,
) -> None:
    """Reads all raw files without packing: lists all that is wrong, and what would be packed."""
    loaded = options.project(data).resolve(task)
    packing = options.packing(option, split, salt, 0)
    project = options.project(data)
    checked = project.check(loaded, options=packing.options, split=packing.split)
    options.print_notes(checked)
    if checked.problems:
        raise options.problems_error(checked)
    summary = asdict(checked)
    shown = summary if json else {name: summary[name] for name in ("files", "groups", "counts")}
    options.done(json, command="check", task=loaded.name, path=project.raw_folder(loaded), **shown)


def repack(
    task: options.TaskHere,
    shards: Annotated[
        str, typer.Option(metavar="N|auto", help="Shards of each split; auto: 100 to 200 MB each.")
    ],
    data: options.Data = options.DATA,
    json: options.Json = False,
) -> None:
    """Divides packed records into other shards; reads no raw files. The fingerprint stays."""
    loaded = options.project(data).resolve(task)
    records = options.project(data).repack(loaded, shards=shards)
    counts = Counter(shard.split for shard in records.manifest.shards)
    options.done(
        json,
        command="repack",
        task=loaded.name,
        path=records.path,
        shards=dict(counts),
        fingerprint=records.manifest.fingerprint,
    )


def verify(
    task: options.TaskHere,
    data: options.Data = options.DATA,
    json: options.Json = False,
) -> None:
    """Checks every record of a packed task against its manifest."""
    loaded = options.project(data).resolve(task)
    records = options.project(data).verify(loaded)
    shards = records.manifest.shards
    options.done(
        json,
        command="verify",
        task=loaded.name,
        path=records.path,
        shards=len(shards),
        records=sum(shard.count for shard in shards),
    )
