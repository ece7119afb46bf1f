"""Folder of unfinished work: its plan, its lock, and results that survive a kill.

A folder NAME holds

    plan.json       all that the work depends on: work with another plan is not gone on with
    RESULT.json     a finished part of the work, with all that this part depends on
    ...             what the work itself writes

and beside it .NAME.lock is held by the one process that works in it.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tfpipe.base import files, locks
from tfpipe.base.errors import UserError

LOG = logging.getLogger(__name__)
PLAN = "plan.json"


class ResumableFolder:
    """Work in a folder that one process does at a time, and that goes on after a kill.

    Entering it takes the lock and compares the plans. What another plan left is moved aside and
    named in a warning, or removed. Leaving it frees the lock and keeps the folder, unless `remove`
    was called.

    Attributes:
      path: the folder.
      plan: all that the work depends on, as JSON has it; None for a folder of results only, each of
        which has a plan of its own.
      work: what is done there, such as "search", for warnings.
    """

    def __init__(
        self,
        path: Path,
        plan: Any,
        *,
        work: str,
        busy: str | None,
        target: Path | None = None,
        lock: Path | None = None,
        keep_other: bool = True,
        contents: tuple[str, ...] = ("*",),
        recover_plan: Callable[[Path], Any] = lambda folder: None,
    ):
        """Describes the work; nothing is read or written before the folder is entered.

        Args:
          path: as the attribute.
          plan: as the attribute; what JSON cannot hold is written as text.
          work: as the attribute.
          busy: the sentence for the user if another process works in the folder; None: wait for it.
          target: what the work makes, for messages; by default the folder.
          lock: the lock file; by default .NAME.lock beside the folder.
          keep_other: whether work with another plan is moved aside, else it is removed.
          contents: patterns of the files that make a folder without a readable plan worth keeping.
          recover_plan: finds the plan of a folder in which plan.json is missing or damaged; returns
            None where it cannot.
        """
        self.path, self.work, self._busy = path, work, busy
        self._target = target or path
        self.plan = None if plan is None else _as_json(plan)
        self.lock = lock or lock_of(path)
        self._keep_other, self._contents, self._recover_plan = keep_other, contents, recover_plan
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Takes the lock, and makes room for the plan.

        Raises:
          UserError: another process works in the folder, it cannot be written to, or the file
            system supports no locks.
        """
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.hold(self.lock, busy=self._busy))
            except OSError as error:
                raise UserError(
                    f"{files.shown(self._target)} cannot be written: {error.strerror or error}. "
                    "Free some space or choose another folder."
                ) from error
            stack.callback(self._remove_lock)
            if self.plan is not None:
                self.begin(self.plan)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _remove_lock(self) -> None:
        """Removes the lock file, which is held.

        Whoever has opened it meanwhile notices that it is gone, and makes another.
        """
        with contextlib.suppress(OSError):
            self.lock.unlink(missing_ok=True)

    @property
    def plan_hash(self) -> str:
        """Returns the SHA-256 of the plan, 64 hexadecimal digits."""
        return hash_of(self.plan)

    def begin(self, plan: Any) -> None:
        """Goes on with a plan: results under another plan are moved aside or removed."""
        self.plan = _as_json(plan)
        stored = self.read(PLAN)
        plan_of_rest = self._recover_plan(self.path) if stored is None else stored
        is_other = hash_of(plan_of_rest) != self.plan_hash
        if is_other and any(p for pattern in self._contents for p in self.path.glob(pattern)):
            self.discard("has another plan")
        elif is_other or stored is None:
            self.write(PLAN, self.plan)

    def discard(self, reason: str) -> None:
        """Moves what is in the folder aside, or removes it, and begins with the same plan anew.

        Args:
          reason: what is wrong with it, such as "cannot be read", for the warning.
        """
        if not self._keep_other:
            shutil.rmtree(self.path)
        else:
            aside = move_aside(self.path)
            LOG.warning("An earlier %s %s; it is now %s.", self.work, reason, aside)
        self.write(PLAN, self.plan)

    def read(self, name: str) -> Any:
        """Returns the contents of a JSON file; None if it is missing or damaged."""
        return read_json(self.path / name)

    def write(self, name: str, value: Any) -> None:
        """Writes a JSON file at once, so that no reader meets half of it."""
        write_json(self.path / name, value)

    def result(self, name: str, plan: Any) -> Any:
        """Returns the result of a part of the work; None if it is not finished under this plan.

        Args:
          name: of the part, as the name of a file without its suffix.
          plan: all that the part depends on besides the folder's plan.
        """
        stored = self.read(f"{name}.json")
        if not isinstance(stored, dict) or hash_of(stored.get("plan")) != hash_of(plan):
            return None
        return stored.get("result")

    def add_result(self, name: str, plan: Any, result: Any) -> None:
        """Writes the result of a part of the work, which is finished with this; see `result`."""
        self.write(f"{name}.json", {"plan": _as_json(plan), "result": result})

    def remove(self) -> None:
        """Removes the folder: the work is done, and nothing is left to go on with."""
        shutil.rmtree(self.path, ignore_errors=True)


def lock_of(folder: Path) -> Path:
    """Returns the lock file of a folder: .NAME.lock beside it."""
    return folder.parent / f".{folder.name.removeprefix('.')}.lock"


def hash_of(plan: Any) -> str:
    """Returns the SHA-256 of a plan, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(_as_json(plan), sort_keys=True).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Returns the contents of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file at once; numpy's numbers become Python's, and paths and dates text."""
    files.replace(path, json.dumps(value, indent=1, default=_plain).encode())


def move_aside(path: Path) -> Path:
    """Renames a file or folder to the first of NAME-1, NAME-2, ... that is free; returns that."""
    numbered = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in itertools.count(1))
    aside = next(candidate for candidate in numbered if not candidate.exists())
    path.replace(aside)
    return aside


def _as_json(plan: Any) -> Any:
    """Returns a plan as it is read back from JSON: tuples are lists, keys are text."""
    return json.loads(json.dumps(plan, default=_plain))


def _plain(value: Any) -> Any:
    """Returns what JSON can hold of a value: one of numpy's numbers as one of Python's, or text."""
    return value.item() if hasattr(value, "item") and not getattr(value, "ndim", 0) else str(value)
