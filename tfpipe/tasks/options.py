"""A task's options as users type them: name=value."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.tasks.task import Task


def options_of(task: Task, settings: Iterable[str]) -> Any:
    """Returns the task's options with `name=value` settings in place of defaults.

    Raises:
      UserError: if a name is unknown or a value is not of the option's kind.
    """
    options = task.options
    fields = {field.name: field for field in dataclasses.fields(options)}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--option {setting!r} has no '='. Write it as name=value.")
        option = fields[choose(name.strip().replace("-", "_"), fields, noun=f"{task.name} option")]
        value = _parsed(text.strip(), kind=type(getattr(options, option.name)), name=option.name)
        choices = option.metadata.get("choices")
        if choices and value not in choices:
            raise UserError(f"Option {option.name} is {text!r}, expected {' or '.join(choices)}.")
        least = option.metadata.get("least")
        if least is not None and not least <= value < math.inf:
            raise UserError(f"Option {option.name} is {text!r}, expected at least {least:g}.")
        options = dataclasses.replace(options, **{option.name: value})
    return options


def _parsed(text: str, *, kind: type, name: str):
    try:
        return kind(text)
    except ValueError:
        noun = {int: "a whole number", float: "a number"}[kind]
        raise UserError(f"Option {name} is {text!r}, expected {noun}.") from None
