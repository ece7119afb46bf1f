"""Run configuration: everything that made a version, as run.yaml beside it.

`tfpipe rerun .../assets.extra/run.yaml` and `Project.rerun` repeat the run: the same records, the
same search, the same training.
"""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

import tfpipe
from tfpipe.base import files
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.baselines.config import TreeSearchConfig
from tfpipe.search.config import SearchConfig
from tfpipe.tasks.splits import SplitConfig
from tfpipe.training.config import TrainingConfig

FILE = "run.yaml"
MAX_BYTES = 1_000_000
COMMANDS = ("tune", "train", "trees", "retrain")
SECTIONS = {"split": SplitConfig, "training": TrainingConfig, "search": SearchConfig}
# The least values of numbers in training, trees and the run itself.
LEAST = {
    "learning_rate": 1e-12,
    "decay_steps": 1,
    "decay_rate": 0,
    "weight_decay": 0,
    "clip": 0,
    "epochs": 1,
    "patience": 0,
    "batch_size": 1,
    "unfreeze": 0,
    "trials": 1,
    "folds": 0,
    "seed": 0,
    "skip_bad": 0,
}
HEADING = "# What made this version. `tfpipe rerun FILE` repeats it.\n"


@dataclass(frozen=True)
class RunConfig:
    """Configuration of one run, as run.yaml holds it.

    Attributes:
      command: one of `COMMANDS`.
      task: name of the task, or path of its Python file or folder of images.
      model: name of the model.
      options: the task's options.
      split: how groups are assigned to splits.
      skip_bad: unreadable files that may be left out.
      hyperparameters: builder's arguments; of trees those of XGBoost.
      training: how the network is fitted; None for trees, and for a search that trains its winner
        as `tfpipe tune` does.
      search: how hyperparameters were searched; None without a search. Its records are those of
        the run. Its task and model may be left out in the file, and are then those of the run.
      precision: "float32" or "mixed_bfloat16", as computed.
      random_split: whether the random-split baseline was trained as well.
      initialized_from: number of the version whose weights training started from, or whose trees
        were trained again; None for neither.
      trees: how boosted trees are searched: trials, folds, balance and seed; None for networks.
      records: fingerprint of the packed records.
      tfpipe: version of tfpipe.
    """

    command: str
    task: str
    model: str
    options: dict[str, Any] = field(default_factory=dict)
    split: SplitConfig = field(default_factory=SplitConfig)
    skip_bad: int = 0
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    training: TrainingConfig | None = None
    search: SearchConfig | None = None
    precision: str = "float32"
    random_split: bool = True
    initialized_from: int | None = None
    trees: TreeSearchConfig | None = None
    records: str = ""
    tfpipe: str = tfpipe.__version__

    def to_yaml(self, *, heading: str = HEADING) -> str:
        """Returns the configuration as the text of run.yaml, with comments as its heading."""
        plain = asdict(self)
        if self.trees is not None:
            plain["trees"] = self.trees._asdict()
        if self.search is not None:
            same = _of_run(plain)
            search = plain["search"].items()
            plain["search"] = {k: v for k, v in search if k not in same or same[k] != v}
        plain = {name: value for name, value in plain.items() if value is not None}
        return heading + yaml.safe_dump(_plain(plain), sort_keys=False, allow_unicode=True)


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without references: a few lines of them would grow beyond all memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            problem, place = "a reference (*name), expected plain values", self.peek_event()
            raise yaml.composer.ComposerError(None, None, problem, place.start_mark)
        return super().compose_node(parent, index)


def write(config: RunConfig, folder: Path) -> None:
    """Writes run.yaml into a folder."""
    files.replace(folder / FILE, config.to_yaml().encode())


def read(path: Path) -> RunConfig:
    """Returns the configuration in a run.yaml.

    Raises:
      UserError: the file is missing, is no YAML, or a field is unknown or of another type.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UserError(
                f"{path} has more than {MAX_BYTES / 1e6:g} MB, so it is no run.yaml of a version."
            )
        document = _PlainLoader(data.decode()).get_single_data()
    except RecursionError:
        raise UserError(f"{path} is nested too deeply, expected names and values.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read. Give the run.yaml of a version, such as "
            "saved_models/TASK/MODEL/N/assets.extra/run.yaml."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}" if place else ""
        raise UserError(f"{path}{line} is no YAML: {getattr(error, 'problem', error)}.") from error
    return _validated(document, path)


def _validated(document: Any, path: Path) -> RunConfig:
    """Returns a document as a RunConfig; names are checked first, then types by pydantic."""
    if not isinstance(document, dict):
        raise UserError(f"{path} holds a {type(document).__name__}, expected names and values.")
    _check_names(document, RunConfig, path)
    for section, kind in SECTIONS.items():
        if isinstance(document.get(section), dict):
            _check_names(document[section], kind, path)
    if isinstance(document.get("search"), dict):
        document = document | {"search": _of_run(document) | document["search"]}
    try:
        config = TypeAdapter(RunConfig).validate_json(json.dumps(document), strict=True)
    except (ValidationError, TypeError, ValueError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        where = ".".join(map(str, first["loc"])) if first else "a value"
        what = f"{first['msg']}, received {first['input']!r}" if first else str(error)
        raise UserError(f"{path}: {where}: {what}. Correct it.") from error
    choose(config.command, COMMANDS, noun="command")
    _check_ranges(config, path)
    return config


def _of_run(run: dict[str, Any]) -> dict[str, Any]:
    """Returns what a search is without fields of its own: of the run's task and model."""
    return {"task": run.get("task"), "model": run.get("model"), "records": "", "training": {}}


def _check_names(values: dict, kind: Any, path: Path) -> None:
    for name in values:
        choose(str(name), [one.name for one in fields(kind)], noun=f"field of {path.name}")


def _check_ranges(config: RunConfig, path: Path) -> None:
    """Refuses numbers that no training or search can have."""
    sections = {
        "training": asdict(config.training) if config.training else {},
        "trees": config.trees._asdict() if config.trees else {},
        "run": {"skip_bad": config.skip_bad},
    }
    for section, values in sections.items():
        for name, least in LEAST.items():
            value = values.get(name, least)
            if not least <= value < math.inf:
                raise UserError(
                    f"{path}: {section}.{name} is {value}, expected at least {least:g}. Correct it."
                )


def _plain(value: Any) -> Any:
    """Returns a value as YAML's own kinds: tuples as lists, numpy's numbers as Python's."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value
