"""tfpipe: from raw images to a served model and back.

The names below are the Python API. Each is imported when it is first used, so that
`import tfpipe` is quick and needs no TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfpipe.base.errors import UserError
    from tfpipe.data.check import RawFilesCheck
    from tfpipe.data.config import PackingConfig
    from tfpipe.project import Project
    from tfpipe.results import (
        Adaptation,
        AdaptedVersion,
        Comparison,
        Exploration,
        Inspection,
        InspectionReport,
        Labels,
        Records,
    )
    from tfpipe.search.config import SearchConfig
    from tfpipe.search.overview import SearchReport
    from tfpipe.serving.client import Client
    from tfpipe.serving.run import serve
    from tfpipe.serving.runtimes.model_files import ModelExport
    from tfpipe.tasks.splits import SplitConfig
    from tfpipe.tasks.task import Example, Reading, Source, Survey, Task, WholeFile
    from tfpipe.training.config import TrainingConfig
    from tfpipe.version import Prediction, Report, Version
    from tfpipe.workflows.run_config import RunConfig
    from tfpipe.workspace import load_task

__version__ = "0.1.0"

_HOMES = {
    "Adaptation": "tfpipe.results",
    "AdaptedVersion": "tfpipe.results",
    "Client": "tfpipe.serving.client",
    "Comparison": "tfpipe.results",
    "Example": "tfpipe.tasks.task",
    "Exploration": "tfpipe.results",
    "Inspection": "tfpipe.results",
    "InspectionReport": "tfpipe.results",
    "Labels": "tfpipe.results",
    "ModelExport": "tfpipe.serving.runtimes.model_files",
    "PackingConfig": "tfpipe.data.config",
    "Prediction": "tfpipe.version",
    "Project": "tfpipe.project",
    "RawFilesCheck": "tfpipe.data.check",
    "Reading": "tfpipe.tasks.task",
    "Records": "tfpipe.results",
    "Report": "tfpipe.version",
    "RunConfig": "tfpipe.workflows.run_config",
    "SearchConfig": "tfpipe.search.config",
    "SearchReport": "tfpipe.search.overview",
    "Source": "tfpipe.tasks.task",
    "SplitConfig": "tfpipe.tasks.splits",
    "Survey": "tfpipe.tasks.task",
    "Task": "tfpipe.tasks.task",
    "TrainingConfig": "tfpipe.training.config",
    "UserError": "tfpipe.base.errors",
    "Version": "tfpipe.version",
    "WholeFile": "tfpipe.tasks.task",
    "load_task": "tfpipe.workspace",
    "serve": "tfpipe.serving.run",
}

__all__ = [
    "Adaptation",
    "AdaptedVersion",
    "Client",
    "Comparison",
    "Example",
    "Exploration",
    "Inspection",
    "InspectionReport",
    "Labels",
    "ModelExport",
    "PackingConfig",
    "Prediction",
    "Project",
    "RawFilesCheck",
    "Reading",
    "Records",
    "Report",
    "RunConfig",
    "SearchConfig",
    "SearchReport",
    "Source",
    "SplitConfig",
    "Survey",
    "Task",
    "TrainingConfig",
    "UserError",
    "Version",
    "WholeFile",
    "__version__",
    "load_task",
    "serve",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tfpipe' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
