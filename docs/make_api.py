"""Writes docs/api.md from the docstrings of the Python API: python docs/make_api.py."""

import inspect
import re
from pathlib import Path
from typing import Any

import tfpipe

# Modules whose classes are described method by method.
DESCRIBED = ("tfpipe.project", "tfpipe.results", "tfpipe.version", "tfpipe.workspace")
PAGE = Path(__file__).with_name("api.md")
INTRODUCTION = """# Python API

Everything below comes from `import tfpipe`, which takes a few milliseconds: each name is imported
when it is first used. The command line calls the same functions.

```python
import tfpipe

project = tfpipe.Project(data="data", saved_models="saved_models", seed=0)
task = tfpipe.load_task("melt-layer")  # or "./photos", or "my_task.py"
project.sample(task, photos=24, px_per_m=600)  # or put your own photos there

records = project.pack(task, options={"stride_px": 60})
version = project.tune(
    task, model="simple-cnn", algorithm="bayesian", quick=True, trials=1, trial_epochs=1, epochs=1
)
print(version.metrics["test"]["average_precision"])
version.report()  # shows itself in Jupyter

table = version.predict(["data/raw/melt-layer/photos"])  # a pandas.DataFrame
version.predict(["data/raw/melt-layer/photos"], out="layers.csv")  # streams to disk, resumes

again = project.rerun(version.path / "assets.extra" / "run.yaml")
assert again.metrics == version.metrics
print(project.versions(task)[["model", "version", "value"]])
```

Bad input raises `tfpipe.UserError` with one sentence. Progress is a bar in terminals and notebooks;
`Project(..., progress=False)` shows none, and `progress=reporter` receives it.
"""


def page() -> str:
    """Returns the text of api.md: an introduction, then each public name with its members."""
    parts = [INTRODUCTION]
    for name in tfpipe.__all__:
        if name == "__version__":
            continue
        value = getattr(tfpipe, name)
        parts.append(f"## `{name}`\n\n{_signature(name, value)}{_prose(value)}")
        if inspect.isclass(value) and value.__module__ in (
            "tfpipe.project",
            "tfpipe.results",
            "tfpipe.version",
            "tfpipe.serving.client",
        ):
            for member, function in _members(value):
                signature = _signature(f"{name}.{member}", function)
                parts.append(f"### `{name}.{member}`\n\n{signature}{_prose(function)}")
    return "\n".join(parts)


def _members(kind: type) -> list[tuple[str, Any]]:
    """Returns a class' public methods and properties, in the order of its source."""
    return [
        (name, value)
        for base in reversed(kind.__mro__[:-1])
        for name, value in vars(base).items()
        if not name.startswith("_") and inspect.getdoc(value) and _is_member(value)
    ]


def _is_member(value: Any) -> bool:
    return inspect.isfunction(value) or hasattr(value, "fget") or hasattr(value, "attrname")


def _signature(name: str, value: Any) -> str:
    """Returns the call as a block of code; "" for what is not called."""
    if not callable(value) or (inspect.isclass(value) and issubclass(value, Exception)):
        return ""
    parameters = [p for p in inspect.signature(value).parameters.values() if p.name != "self"]
    words = [_parameter(parameter) for parameter in parameters]
    keyword_only = [i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY]
    if keyword_only and not any(word.startswith("*") for word in words):
        words.insert(keyword_only[0], "*")
    call = f"{name}({', '.join(words)})"
    if len(call) > 100:
        call = f"{name}(\n    " + ",\n    ".join(words) + ",\n)"
    return f"```text\n{call}\n```\n\n"


def _parameter(parameter: inspect.Parameter) -> str:
    """Returns name=default; annotations are left out, as Python versions print them differently."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    default = parameter.default
    if default is parameter.empty:
        return stars + parameter.name
    if isinstance(default, Path):
        default = str(default)
    is_plain = default is None or isinstance(default, bool | int | float | str | tuple)
    return f"{parameter.name}={default!r}" if is_plain else f"{parameter.name}=..."


def _prose(value: Any) -> str:
    """Returns a docstring as Markdown: its sections as lists."""
    lines = []
    for line in (inspect.getdoc(value) or "").splitlines():
        if re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields):", line):
            lines.append(f"**{line[:-1]}**\n")
        elif entry := re.fullmatch(r"  (\w+): (.*)", line):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
