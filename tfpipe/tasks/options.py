"""Task options: how a task declares them, and how users type them (name=value)."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import Task

BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def option(default: Any, help: str, **rules: Any) -> Any:
    """Returns the dataclass field of a task option.

    Args:
      default: a str, bool, int or float; what users type is converted to the same type.
      help: what the option sets, for `tfpipe tasks NAME`.
      **rules: `choices`, the values allowed; `least`, the smallest number allowed.
    """
    return dataclasses.field(default=default, metadata={"help": help, **rules})


def parse_options(task: Task, settings: Iterable[str]) -> Any:
    """Returns the task's options with `name=value` settings in place of defaults.

    Raises:
      UserError: a name is unknown, or a value has the wrong type or is not allowed.
    """
    options = task.options
    fields = {field.name: field for field in dataclasses.fields(options)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--option {setting!r} has no '='. Write it as name=value.")
        field = fields[choose(name.strip().replace("-", "_"), fields, noun=f"{task.name} option")]
        value = _convert(text.strip(), type(getattr(options, field.name)), name=field.name)
        choices = field.metadata.get("choices")
        if choices and value not in choices:
            raise UserError(f"Option {field.name} is {text!r}, expected {' or '.join(choices)}.")
        least = field.metadata.get("least")
        if least is not None and not least <= value < math.inf:
            raise UserError(f"Option {field.name} is {text!r}, expected at least {least:g}.")
        options = dataclasses.replace(options, **{field.name: value})
    return options


def _convert(text: str, kind: type, *, name: str) -> Any:
    if kind is bool:
        if text.lower() not in BOOLEANS:
            raise UserError(f"Option {name} is {text!r}, expected {', '.join(BOOLEANS)}.")
        return BOOLEANS[text.lower()]
    try:
        return kind(text)
    except ValueError:
        noun = {int: "a whole number", float: "a number"}[kind]
        raise UserError(f"Option {name} is {text!r}, expected {noun}.") from None
