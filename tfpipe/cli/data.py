"""The commands about data: tasks, sample, pack, verify."""

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfpipe import tasks
from tfpipe.base.progress import ProgressBar
from tfpipe.cli import options as cli_options
from tfpipe.tasks import samples, status
from tfpipe.tasks.options import parse_options
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import raw_folder

if TYPE_CHECKING:
    from tfpipe.data.manifest import RecordManifest

PRINTED = ("left_out", "notes", "unreadable")  # by `print_notes`, so not once more as a summary
of_melt_layer = partial(typer.Option, rich_help_panel="melt-layer")
of_insolubles = partial(typer.Option, rich_help_panel="insolubles")
of_ccd_tracks = partial(typer.Option, rich_help_panel="ccd-tracks")
of_folds = partial(typer.Option, rich_help_panel="folds")
of_ionization = partial(typer.Option, rich_help_panel="ionization")


def list_tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Task to show in detail.")
    ] = None,
    data: cli_options.Data = cli_options.DATA,
    models: cli_options.Models = cli_options.MODELS,
    json: cli_options.Json = False,
) -> None:
    """Lists the tasks and what exists of each; with NAME, all about one task and its options."""
    if name is not None:
        details = status.task_details(tasks.find(name), data=data, models=models)
        if json:
            cli_options.print_json({"command": "tasks", "task": asdict(details)})
        else:
            Console().print(_details_table(details))
        return
    rows = [status.task_status(task, data=data, models=models) for task in tasks.TASKS.values()]
    if json:
        cli_options.print_json({"command": "tasks", "tasks": [asdict(row) for row in rows]})
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("task", "what for", "raw files", "packed", "versions"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.task,
            row.title,
            "yes" if row.has_raw_files else "no",
            f"{row.n_examples} examples" if row.is_packed else "no",
            str(row.n_versions or "none"),
        )
    Console().print(table)
    Console().print("`tfpipe tasks NAME` shows the raw files and options of a task.")


def _details_table(details: status.TaskDetails) -> Table:
    table = Table.grid(padding=(0, 2))
    packed = [
        f"{split}: {', '.join(f'{count} {name}' for name, count in classes.items())}"
        for split, classes in (details.counts or {}).items()
    ]
    versions = [
        f"{model}: {', '.join(map(str, numbers))}" for model, numbers in details.versions.items()
    ]
    options = [f"{one.name}={one.default}: {one.help}" for one in details.options]
    lines = {
        "task": details.task,
        "what for": details.title,
        "classes": ", ".join(details.classes) or "those of the raw folder",
        "models": ", ".join(details.models),
        "expects": f"{details.raw}/: {details.expects}",
        "raw files": "yes" if details.has_raw_files else "no",
        "packed": "\n".join(packed) or "no",
        "versions": "\n".join(versions) or "none",
        "options": "\n".join(options),
    }
    for heading, text in lines.items():
        table.add_row(f"[bold]{heading}", escape(text))
    return table


def sample(
    task: cli_options.TaskName,
    photos: Annotated[int | None, of_melt_layer(help="Core sections, 24 by default.")] = None,
    px_per_m: Annotated[float | None, of_melt_layer(help="Resolution, 2000 by default.")] = None,
    runs: Annotated[int | None, of_insolubles(help="Labelled runs, 12 by default.")] = None,
    field_runs: Annotated[int | None, of_insolubles(help="Unlabelled runs, 2 by default.")] = None,
    particles: Annotated[
        int | None, of_insolubles(help="In a labelled run, 300 by default.")
    ] = None,
    exposures: Annotated[int | None, of_ccd_tracks(help="Files, 12 by default.")] = None,
    tracks: Annotated[int | None, of_ccd_tracks(help="In an exposure, 60 by default.")] = None,
    frame_px: Annotated[int | None, of_ccd_tracks(help="Side of one, 512 by default.")] = None,
    outcrops: Annotated[int | None, of_folds(help="Of each class, 30 by default.")] = None,
    crops: Annotated[int | None, of_folds(help="Pictures of an outcrop, 4 by default.")] = None,
    simulations: Annotated[int | None, of_ionization(help="Seeds, 3 by default.")] = None,
    cells: Annotated[int | None, of_ionization(help="A side, 40 by default.")] = None,
    data: cli_options.Data = cli_options.DATA,
    seed: cli_options.Seed = 0,
    json: cli_options.Json = False,
) -> None:
    """Draws a small raw data set in the task's own format, with the truth beside it."""
    wanted = {"photos": photos, "px_per_m": px_per_m}
    wanted |= {"runs": runs, "field_runs": field_runs, "particles": particles}
    wanted |= {"exposures": exposures, "tracks": tracks, "frame_px": frame_px}
    wanted |= {"outcrops": outcrops, "crops": crops}
    wanted |= {"simulations": simulations, "cells": cells}
    folder = data / "raw" / task
    drawn = samples.draw(task, folder, seed=seed, **wanted)
    cli_options.done(json, command="sample", task=task, path=folder, **drawn)


def pack(
    task: cli_options.TaskName,
    option: cli_options.Option = None,
    split: cli_options.Split = cli_options.SHARES,
    salt: cli_options.Salt = "",
    skip_bad: cli_options.SkipBad = 0,
    data: cli_options.Data = cli_options.DATA,
    seed: cli_options.Seed = 0,
    json: cli_options.Json = False,
) -> None:
    """Packs raw files into records; stopped at any moment, the same command goes on."""
    manifest = packed(task, cli_options.Packing(option, split, salt, skip_bad, data))
    names = ("counts", "groups", "left_out", "notes", "unreadable", "fingerprint")
    told = {name: getattr(manifest, name) for name in names if json or name not in PRINTED}
    name = tasks.find(task).name
    cli_options.done(json, command="pack", task=name, path=data / "records" / name, **told)


def verify(
    task: cli_options.TaskName,
    data: cli_options.Data = cli_options.DATA,
    json: cli_options.Json = False,
) -> None:
    """Checks every record of a packed task against its manifest."""
    name = tasks.find(task).name
    folder = data / "records" / name
    cli_options.start_tensorflow()
    from tfpipe.data import manifest as data_manifest

    shards = data_manifest.trusted(folder).shards
    whole = {"shards": len(shards), "records": sum(shard.count for shard in shards)}
    cli_options.done(json, command="verify", task=name, path=folder, **whole)


def packed(task: str, packing: cli_options.Packing) -> "RecordManifest":
    """Packs if need be, says what was left out, and returns the manifest."""
    found = tasks.find(task)
    options = parse_options(found, packing.option or ())
    split = SplitConfig.parse(packing.split, salt=packing.salt)
    cli_options.start_tensorflow()
    from tfpipe.data import pack as data_pack

    with ProgressBar(cli_options.err) as progress:
        manifest = data_pack.pack(
            found,
            raw_folder(found, packing.data),
            packing.data / "records" / found.name,
            options=options,
            split=split,
            skip_bad=packing.skip_bad,
            progress=lambda done, total: progress("pack", {"done": done, "total": total}),
        )
    cli_options.print_notes(manifest)
    return manifest
