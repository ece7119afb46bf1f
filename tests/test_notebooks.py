"""The notebooks of the docs: committed without output, and run in a kernel from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
FIGURES = {"ice-cores": 4, "particles": 5, "tracks": 4, "cubes": 4, "folds": 3}


def test_there_is_one_for_each_project_and_it_has_no_output():
    assert {path.stem for path in NOTEBOOKS.iterdir()} == {*FIGURES}
    for name in FIGURES:
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs or cell.execution_count for cell in code), name


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_notebook_runs_and_shows_figures_and_a_sentence(name, tmp_path, monkeypatch):
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    monkeypatch.delenv("MPLBACKEND")  # a kernel's own shows figures
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parents[1]))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    errors = [out.text for out in outputs if out.get("name") == "stderr"]
    assert not errors  # no warning of a library either
    printed = [out.text for out in outputs if out.get("name") == "stdout"]
    assert len(printed) == 1 and any(letter.isdigit() for letter in printed[0]), printed
    shown = [out.data for out in outputs if "data" in out]
    assert sum("image/png" in data for data in shown) == FIGURES[name]
    pages = [data["text/html"] for data in shown if "text/html" in data]
    assert sum("<iframe" in page for page in pages) == 1  # the report
    assert sum("<table" in page for page in pages) >= 2
