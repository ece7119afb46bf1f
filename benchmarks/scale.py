"""How seconds, memory and disk grow with the number of pictures, stage by stage.

    python benchmarks/scale.py                          2,000 pictures, 4, 16 and 64 times as many
    python benchmarks/scale.py --times 500 --stages pack near-duplicates train predict

Each stage is a process of its own: the commands `tfpipe pack`, `train` (one epoch), `predict` and
`explore` on `scale_task.py`, whose pictures are drawn while they are read. Near-duplicates are part
of packing, and are looked for once more by themselves. Memory is the peak of the resident memory of
the process and its children together, sampled ten times a second. The exponent is that of the
processor seconds, of all cores, beyond those of the start, which are the same whatever the size. On
a busy machine seconds say little.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import machine
import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit

TASK = Path(__file__).with_name("scale_task.py")
PICTURES, TIMES = 2000, (1, 4, 16, 64)
FILES = 40  # raw files at least; a raw file has at most `MOST_PICTURES`
MOST_PICTURES = 1000
STAGES = ("pack", "near-duplicates", "train", "predict", "explore")
HYPERPARAMETERS = ("filters=4", "dense_units=32", "batch_size=256")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=float, nargs="+", default=TIMES)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="of the first size")
    parser.add_argument("--stages", choices=STAGES, nargs="+", default=STAGES)
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument("--folder", type=Path, help="where files go; kept if it is given")
    parser.add_argument("--compare", type=Path, help=argparse.SUPPRESS)  # a stage's own process
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.compare)
        return
    about, rows = machine.about(), []
    with tempfile.TemporaryDirectory(prefix="tfpipe-scale-") as temporary:
        for times in arguments.times:
            folder = arguments.folder or Path(temporary) / f"{times:g}"
            pictures = round(arguments.pictures * times)
            write_raw(folder, pictures)
            for stage in arguments.stages:
                row = measured(stage, folder, channels=arguments.channels)
                row = {"stage": stage, "pictures": pictures} | row
                row["load"] = round(os.getloadavg()[0], 1)
                rows.append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
            if not arguments.folder:
                shutil.rmtree(folder)
    print(json.dumps(about, indent=1))
    print(table(rows, stages=arguments.stages))


def write_raw(folder: Path, pictures: int) -> None:
    """Writes the raw files of so many pictures."""
    raw = folder / "data" / "raw" / "scale"
    raw.mkdir(parents=True, exist_ok=True)
    share = min(MOST_PICTURES, pictures // FILES)
    for i in range(pictures // share):
        (raw / f"run{i:05d}.txt").write_text(f"{i} {share}\n")


def measured(stage: str, folder: Path, *, channels: int) -> dict[str, float]:
    """Runs a stage, and returns seconds, processor seconds, peak memory, and disk used after it."""
    data, models = folder / "data", folder / "models"
    tfpipe = [sys.executable, "-m", "tfpipe"]
    option = ["--option", f"channels={channels}"]
    where = ["--data", str(data), "--models", str(models)]
    train = ["train", str(TASK), "--epochs", "1", "--no-random-split", "--balance", "none"]
    train += [word for pair in HYPERPARAMETERS for word in ("--hp", pair)]
    raw = sorted(map(str, (data / "raw" / "scale").glob("*.txt")))
    new = ["predict", str(TASK), *raw]
    commands = {
        "pack": [*tfpipe, "pack", str(TASK), *option, "--data", str(data)],
        "near-duplicates": [sys.executable, __file__, "--compare", str(data / "records" / "scale")],
        "train": [*tfpipe, *train, *option, *where],
        "predict": [*tfpipe, *new, "--models", str(models), "--out", str(folder / "new.parquet")],
        "explore": [*tfpipe, "explore", str(TASK), *where],
    }
    log = folder / f"{stage}.log"
    began = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(commands[stage], stdout=file, stderr=subprocess.STDOUT)
        peak, status = 0, 0
        while not status:
            peak = max(peak, resident(process.pid))
            time.sleep(0.1)
            status, code, usage = os.wait4(process.pid, os.WNOHANG)
    process.returncode = os.waitstatus_to_exitcode(code)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{stage} ended with exit code {process.returncode}: {log.read_text()}")
    disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "seconds": round(seconds, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_mb": peak // 2**20,
        "disk_mb": disk // 2**20,
    }


def resident(pid: int) -> int:
    """Returns the bytes of memory of a process and its descendants; 0 of one that ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [int(child) for path in tasks for child in path.read_text().split()]
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(resident, children))


def compare(records: Path) -> None:
    """Looks for near-copies across the splits of packed records, as packing does."""
    from tfpipe.data import manifest as data_manifest
    from tfpipe.data import near_duplicates
    from tfpipe.data.copy_prints import StoredPrints
    from tfpipe.tasks.task import SPLITS

    shards = data_manifest.read(records).shards
    prints = {
        split: StoredPrints([records / f"{s.name}.hashes" for s in shards if s.split == split])
        for split in SPLITS
    }
    groups = {split: np.full(one.n_images, split, object) for split, one in prints.items()}
    print(near_duplicates.crossings(prints, groups))


def table(rows: list[dict], *, stages: list[str]) -> str:
    """Returns the measurements as a Markdown table, with each stage's fitted exponent."""
    lines = [
        "| stage | pictures | seconds | processor seconds | pictures a second | peak memory, MB |"
        " of the first | disk, MB | load | exponent |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for stage in stages:
        own = [row for row in rows if row["stage"] == stage]
        for row in own:
            cells = (
                stage,
                f"{row['pictures']:,}",
                f"{row['seconds']:.0f}",
                f"{row['cpu_s']:.0f}",
                f"{row['pictures'] / row['seconds']:,.0f}",
                f"{row['memory_mb']:,}",
                f"{row['memory_mb'] / own[0]['memory_mb']:.2f}",
                f"{row['disk_mb']:,}",
                str(row["load"]),
                exponent(own) if row is own[-1] else "",
            )
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def exponent(rows: list[dict]) -> str:
    """Returns k of processor seconds = start + factor * pictures ** k; "" of less than 3 sizes."""
    if len(rows) < 3:
        return ""
    pictures, seconds = (np.array([row[name] for row in rows]) for name in ("pictures", "cpu_s"))
    relative = pictures / pictures.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # three sizes leave no spread
        (_, _, k), _ = curve_fit(
            lambda n, start, factor, k: start + factor * n**k,
            relative,
            seconds,
            p0=(seconds[0], seconds[-1], 1.0),
            sigma=seconds,
            bounds=([0, 0, 0.2], [np.inf, np.inf, 3]),
        )
    return f"{k:.2f}"


if __name__ == "__main__":
    main()
