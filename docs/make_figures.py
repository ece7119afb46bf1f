"""Pictures and numbers of the tutorials: runs their commands on drawn data, in build/figures/.

`python docs/make_figures.py [NAME ...]` makes what is missing; `--again` makes it anew. A block of
```sh in docs/tutorials/NAME.md is run line by line; what the reader only reads is in ```bash. Then
docs/figures/NAME.py draws from the files that the commands wrote. docs/site_hooks.py puts the
results into the pages.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs" / "tutorials"
MADE = ROOT / "build" / "figures"
# Pages that draw from what the tutorials left, and what they need.
LATER = ("start", "accuracy")


def commands_of(page: Path) -> list[str]:
    """Returns the lines of the blocks of ```sh of a page."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


def run(name: str) -> None:
    """Runs a tutorial's commands in build/figures/NAME/work/; what they print is in outputs/."""
    folder = MADE / f"{name}.draft"
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("work", "outputs"):
        (folder / part).mkdir(parents=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = os.environ | {"PATH": path, "COLUMNS": "110", "PYTHONPATH": str(ROOT)}
    began = time.monotonic()
    for number, command in enumerate(commands_of(TUTORIALS / f"{name}.md")):
        done = subprocess.run(
            ("bash", "-c", command),
            cwd=folder / "work",
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = "\n".join(done.stderr.splitlines()[-20:])
            raise SystemExit(f"docs/tutorials/{name}.md: `{command}` failed:\n{lines}")
        verb = "-".join(command.split()[:2])
        (folder / "outputs" / f"{number}-{verb}.txt").write_text(done.stdout)
    folder.rename(MADE / name)
    print(f"{name}: its commands took {time.monotonic() - began:.0f} s", flush=True)


def draw(name: str) -> None:
    """Draws the figures of a page into build/figures/NAME/, the last of them `done`."""
    folder = MADE / name
    folder.mkdir(parents=True, exist_ok=True)
    module = importlib.import_module(f"figures.{name.replace('-', '_')}")
    module.draw(folder)
    (folder / "done").touch()
    print(f"{name}: {', '.join(sorted(path.name for path in folder.glob('*.png')))}", flush=True)


def main(arguments: list[str]) -> None:
    """Makes what is missing of all pages, or of those that are named."""
    again = "--again" in arguments
    tutorials = sorted(path.stem for path in TUTORIALS.glob("*.md"))
    names = [name for name in arguments if name != "--again"] or [*tutorials, *LATER]
    matplotlib.use("Agg")
    MADE.mkdir(parents=True, exist_ok=True)
    for name in names if again else ():
        shutil.rmtree(MADE / name, ignore_errors=True)
    missing = [name for name in names if not (MADE / name / "done").is_file()]
    # Commands of one tutorial wait for files and for TensorFlow's start, so two run at once.
    with ThreadPoolExecutor(2) as pool:
        runs = [n for n in missing if n in tutorials and not (MADE / n / "work").is_dir()]
        list(pool.map(run, runs))
    for name in missing:
        draw(name)


if __name__ == "__main__":
    main(sys.argv[1:])
