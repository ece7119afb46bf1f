"""The wheel: what `make wheel` writes works away from the checkout, with all its files."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("tfpipe", "tuning", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory) -> Path:
    """The programs of a virtual environment with the wheel, and the packages of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SOURCES:  # a copy, as setuptools builds in the checkout
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, checkout / name)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "wheel", *offline, "--wheel-dir", folder, checkout, cwd=folder)
    shutil.rmtree(checkout)
    venv.create(folder / "venv", symlinks=True)
    target = sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")})
    (Path(target) / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = folder.glob("tfpipe-*.whl")
    interpreter = folder / "venv/bin/python"
    run(*pip, "--python", interpreter, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    return interpreter.parent


def test_the_wheel_has_every_file_of_the_package(bin_folder):
    package = Path(
        run(
            bin_folder / "python", "-c", "import tfpipe; print(*tfpipe.__path__)", cwd=bin_folder
        ).strip()
    )
    assert bin_folder.parent in package.parents
    files = {
        str(path.relative_to(ROOT / "tfpipe"))
        for path in (ROOT / "tfpipe").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in files if not (package / name).is_file()} == set()


def test_an_installed_wheel_has_its_command_and_its_search_spaces(bin_folder, tmp_path):
    assert "melt-layer" in run(bin_folder / "tfpipe", "tasks", cwd=tmp_path)
    run(bin_folder / "tfpipe", "sample", "ccd-tracks", "--exposures", "1", cwd=tmp_path)
    assert len(list(tmp_path.rglob("*.fits"))) == 1
    homes = run(bin_folder / "python", "-c", "import tuning; print(*tuning.__path__)", cwd=tmp_path)
    assert bin_folder.parent in Path(homes.strip()).parents
