"""Small raw data for the record tests, and a process that packs it and is killed on the way."""

import dataclasses
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import subprocesses

from tfpipe.base import images
from tfpipe.data import exchange, pack, repack
from tfpipe.data.manifest import RecordManifest
from tfpipe.tasks.melt_layer import TASK as MELT_LAYER
from tfpipe.tasks.samples import melt_layer
from tfpipe.tasks.splits import SplitConfig
from tfpipe.tasks.task import SPLITS, Example, RawFiles, Reading, Source, Survey, Task

HALVES = SplitConfig((0.5, 0.25, 0.25))
SCALES = {"uint8": 1.0, "uint16": 257.0, "float32": 1 / 255}
WINDOWS = 6  # in each image of the small task
MELT_OPTIONS = dataclasses.replace(MELT_LAYER.options, stride_px=40)
MELT_SPLIT = SplitConfig(HALVES.shares, "a")  # both classes in every split of the 12 drawn photos


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the small task."""

    first: int = 0


def _survey(folder: Path, options: Options) -> Survey:
    paths = sorted(folder.glob("*.png"))
    sources = [Source(path.name, path.stem.split("_")[0], path) for path in paths]
    return Survey(tuple(sources), tuple(folder.glob("*.csv")))


def make_task(image_shape=(20, 30, 3), image_dtype="uint8", **changes) -> Task:
    """Returns a task on images of stacked windows: every other one is of the second class.

    An image named plain* has the first class only; "a_1.png" and "a_2.png" are of the group "a".
    """

    def read(source: Source, options: Options) -> Reading:
        windows = images.read(source.path).reshape(-1, *image_shape)
        windows = (windows * SCALES[image_dtype]).astype(image_dtype)
        examples = [
            Example(
                key=f"{source.name}@{i}",
                group=source.group,
                image=image,
                label=0 if source.name.startswith("plain") else i % 2,
                columns=np.array([i, image.mean()], np.float32),
                metadata={"number": i, "depth_m": 2000 + i / 3, "where": source.name},
            )
            for i, image in enumerate(windows)
            if i >= options.first
        ]
        shown = windows[0] if windows.dtype == np.uint8 and image_shape[2] == 3 else None
        return Reading(examples, {"picture": source.name, "windows": len(examples)}, shown)

    task = Task(
        name="small-task",
        title="small pictures",
        expects="*.png",
        classes=("plain", "spotted"),
        image_shape=image_shape,
        image_dtype=image_dtype,
        columns=("number", "light"),
        metadata={"number": "int64", "depth_m": "float64", "where": "str"},
        options=Options(),
        survey=_survey,
        read=read,
        survey_new=None,
        models=(),
        raw_files=RawFiles(source_table="pictures"),
    )
    return dataclasses.replace(task, **changes)


def draw_small(folder: Path, names, *, image_shape=(20, 30, 3)) -> Path:
    """Writes an image of coarse noise for each name, which depends on the name only."""
    folder.mkdir(parents=True, exist_ok=True)
    height, width, _ = image_shape
    for name in names:
        rng = np.random.default_rng(list(name.encode()))
        coarse = rng.integers(0, 256, (WINDOWS, 20, 30, 3), np.uint8)
        windows = [
            cv2.resize(one, (width, height), interpolation=cv2.INTER_CUBIC) for one in coarse
        ]
        cv2.imwrite(str(folder / f"{name}.png"), np.concatenate(windows))
    return folder


def names_in(split: str, count: int, *, word: str = "p", salt: str = "") -> list[str]:
    """Returns `count` names that fall in a split of HALVES."""
    names = (f"{word}{i:03d}" for i in range(1000))
    config = SplitConfig(HALVES.shares, salt)
    return [name for name in names if config.of_group(name) == split][:count]


def spread(train: int = 5, validation: int = 5, test: int = 1) -> list[str]:
    """Returns names of images, so many in each split."""
    counts = zip(SPLITS, (train, validation, test), strict=True)
    return [name for split, count in counts for name in names_in(split, count)]


def pack_small(raw: Path, folder: Path, *, task: Task | None = None, **changes) -> RecordManifest:
    task = task or make_task()
    given = {"options": task.options, "split": HALVES} | changes
    return pack.pack(task, raw, folder, **given)


def draw_melt(folder: Path) -> Path:
    melt_layer.draw(folder, photos=12, seed=4, px_per_m=600)
    return folder


def pack_melt(raw: Path, folder: Path, **changes) -> RecordManifest:
    given = {"options": MELT_OPTIONS, "split": MELT_SPLIT} | changes
    return pack.pack(MELT_LAYER, raw, folder, **given)


def tree(folder: Path) -> dict[str, str]:
    """Returns relative path -> sha256 of everything in a folder, hidden files too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Returns path -> (inode, time of writing) of everything in a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


# A process that packs and is killed.


def kill_packing(kind: str, raw: Path, folder: Path, moments: list) -> list[dict]:
    """Packs in processes of their own, each killed at its moment, and at last one left alone.

    A moment is [shards finished, seconds after that] or the number of a renaming or removal.

    Returns:
      For each, {"status", "shards": name -> inode of those finished when it ended}.
    """
    run = subprocesses.run(__file__, kind, raw, folder, json.dumps(moments))
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def _finished(folder: Path) -> dict[str, int]:
    parts = folder.parent / f".{folder.name}.partial"
    return {done.stem: done.with_suffix("").stat().st_ino for done in parts.glob("*-of-*.json")}


def _die_at(call: int) -> None:
    """Makes the process kill itself just before its nth renaming or removal of a file or folder."""
    left = [call]

    def counted(function):
        def run(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return run

    for name in ("replace", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))


def kill_repacking(folder: Path, sharding: str, moments: list[int]) -> list[int]:
    """Repacks in forked processes, each killed at its moment, and one left alone.

    A moment is the number of a renaming or removal; -1, -2, ... are those of the exchange.

    Returns:
      The exit status of each. Between them the records are there, or the old ones beside them.
    """
    run = subprocesses.run(__file__, "repack", folder, sharding, json.dumps(moments))
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.splitlines()[-1])


def _die_exchanging(exchange_records: Callable, call: int, *folders: Path) -> None:
    _die_at(call)
    exchange_records(*folders)


def _repack_in_children(folder: Path, sharding: str, moments: list[int]) -> None:
    states = []
    for moment in [*moments, None]:
        child = os.fork()
        if not child:
            if moment and moment > 0:
                _die_at(moment)
            elif moment:
                exchange.exchange = partial(_die_exchanging, exchange.exchange, -moment)
            repack.repack(folder, sharding)
            os._exit(0)
        states.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        places = (folder, folder.parent / f".{folder.name}.old")
        assert any((place / "manifest.json").is_file() for place in places), moment
    print(json.dumps(states))


def _child(kind: str, raw: Path, folder: Path, call: int | None) -> int:
    """Packs in a forked process; returns its id."""
    child = os.fork()
    if child:
        return child
    if call:
        _die_at(call)
    try:
        (pack_melt if kind == "melt-layer" else pack_small)(raw, folder)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def main(kind: str, raw: Path, folder: Path, moments: list) -> None:
    pack.SOURCES_A_SHARD = 1
    runs = []
    for moment in [*moments, None]:
        child = _child(kind, raw, folder, moment if isinstance(moment, int) else None)
        if isinstance(moment, list):
            shards, delay_s = moment
            while len(_finished(folder)) < shards and not os.waitid(
                os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT
            ):
                time.sleep(0.002)
            time.sleep(delay_s)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        runs.append({"status": status, "shards": _finished(folder)})
    print(json.dumps(runs))


if __name__ == "__main__":
    if sys.argv[1] == "repack":
        _repack_in_children(Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
    else:
        main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4]))
