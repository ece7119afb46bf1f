"""Stored oracle: the state of a search in files, so that a kill at any moment loses nothing.

KerasTuner writes the state of a search to several files in place. A kill in the middle leaves JSON
that cannot be read, or a trial that is counted and never run. Here the whole state is one file,
replaced at once. Each trial has a second copy in its folder, written before the state that counts
it. If the state is ever damaged, it is restored from these copies.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

from keras_tuner.engine.trial import Trial

from tfpipe.base import files, resumable
from tfpipe.search.keras_tuner_internals import OpenOracle

LOG = logging.getLogger(__name__)
RUNNING, COMPLETED, FAILED = "RUNNING", "COMPLETED", "FAILED"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)


class StoredOracle(OpenOracle):
    """An oracle whose state is stored in a folder.

    Attributes:
      folder: the search's folder.
      plan: what is searched (`plan.identity`).
      n_trials: how many trials there will be.
      chief: name of the process that gives out trials; its workers' names begin with it.
      notes: from trial to {"worker", "seconds", "losses"}.
      given_up: why the search was given up, or None.
      essential_state: names of the algorithm's state that cannot be computed from the trials.
      written: how many trials were written so far, each change counted.
    """

    folder: Path
    plan: dict[str, Any]
    n_trials: int
    chief: str
    notes: dict[str, dict[str, Any]]
    given_up: str | None = None
    essential_state: tuple[str, ...] = ("seed_state",)
    written = 0

    def store_in(self, folder: Path, *, chief: str) -> None:
        """Resumes the search that a folder holds, or begins to store one there."""
        self.folder, self.chief = folder, chief
        self.notes = {}
        path, trial_paths = folder / "state.json", sorted(folder.glob("trial_*/trial.json"))
        if path.is_file() or trial_paths:
            try:
                self._restore(json.loads(path.read_bytes()))
            except _DAMAGED:
                if path.is_file():
                    aside = resumable.move_aside(path)
                    LOG.warning(
                        "%s was damaged and is now %s. The trials are restored from their files.",
                        path,
                        aside.name,
                    )
                self._recover(trial_paths)
        self.save()

    def save(self) -> None:
        """Writes the whole state."""
        state = {
            "plan": self.plan,
            "n_trials": self.n_trials,
            "chief": self.chief,
            "objective": self.objective.name,
            "direction": self.objective.direction,
            "given_up": self.given_up,
            "written": self.written,
            "notes": self.notes,
            "oracle": self.get_state(),
            "trials": {name: trial.get_state() for name, trial in self.trials.items()},
        }
        files.replace(self.folder / "state.json", json.dumps(state).encode())

    def save_trial(self, trial: Trial) -> None:
        """Writes one trial, with what is needed to restore the state from the trials alone."""
        self.written += 1
        state = self.get_state()
        content = {
            "plan": self.plan,
            "written": self.written,
            "note": self.notes.get(trial.trial_id, {}),
            "oracle": {name: state[name] for name in self.essential_state},
            "trial": trial.get_state(),
        }
        path = self.folder / f"trial_{trial.trial_id}" / "trial.json"
        files.replace(path, json.dumps(content).encode())

    def note(self, trial_id: str, **notes: Any) -> None:
        """Adds notes to a trial."""
        self.notes.setdefault(trial_id, {}).update(notes)

    def replacement_values(self, trial_id: str) -> dict[str, Any]:
        """Returns values for a trial whose file is lost."""
        return self.draw_values() or dict(self.hyperparameters.values)

    def _restore(self, state: dict[str, Any]) -> None:
        """Resumes from a whole state."""
        restored = {name: Trial.from_state(trial) for name, trial in state["trials"].items()}
        notes, written, chief = state["notes"], state["written"], state["chief"]
        self.trials = restored
        space = self.get_space()
        self.set_state(state["oracle"])
        if state["plan"]["space"] != self.plan["space"]:  # other ranges: see `extension`
            self.hyperparameters = space
        self.notes, self.written = notes, written
        # KerasTuner saves a trial's end before it takes the trial off the list of running ones.
        for name in [n for n, t in self.ongoing_trials.items() if t.trial_id in self.end_order]:
            del self.ongoing_trials[name]
        # Workers elsewhere may still run their trials; the chief's workers ended with it.
        for name in [name for name in self.ongoing_trials if name.startswith(f"{chief}-")]:
            self.retry_later(self.ongoing_trials.pop(name).trial_id)
        if state["given_up"]:
            self._retry_last_failures()

    def _retry_last_failures(self) -> None:
        """Has the trials run again for which a search was given up: the cause may be mended."""
        while self.end_order and self.trials[self.end_order[-1]].status == FAILED:
            trial = self.trials[self.end_order.pop()]
            trial.status, trial.message = RUNNING, None
            self.note(trial.trial_id, losses=0)
            self.retry_later(trial.trial_id)

    def _recover(self, paths: list[Path]) -> None:
        """Restores the state from the trials' files; a trial whose file is damaged is run again."""
        restored: dict[str, _StoredTrial] = {}
        for path in paths:
            try:
                stored = _read_trial(path)
                restored[stored.trial.trial_id] = stored
            except _DAMAGED:
                aside = resumable.move_aside(path.parent)
                LOG.warning("%s was damaged and is now in %s; it is run again.", path, aside.name)
        if not restored:
            return
        self.trials = {name: stored.trial for name, stored in restored.items()}
        self.notes = {name: stored.note for name, stored in restored.items()}
        last = max(restored.values(), key=lambda stored: stored.written)
        self.written = last.written
        ended = [
            (stored.written, name)
            for name, stored in restored.items()
            if stored.trial.status in (COMPLETED, FAILED)
        ]
        end_order = [name for _, name in sorted(ended)]
        self.set_state(self.get_state() | last.oracle | {"end_order": end_order})
        for name in self._missing_trials():
            hp = self.get_space()
            hp.values = self.replacement_values(name)
            self.trials[name] = Trial(hp, name)
        self.start_order = sorted(self.trials, key=int)
        self.trials = {name: self.trials[name] for name in self.start_order}
        for trial in self.trials.values():
            self.count_as_tried(trial)
        self.replace_retries([name for name in self.start_order if name not in self.end_order])

    def _missing_trials(self) -> list[str]:
        """Returns the trials whose files were damaged: the gaps in the numbers of the others."""
        last = max(self.trials, key=int)
        names = [f"{i:0{len(last)}d}" for i in range(int(last))]
        return [name for name in names if name not in self.trials]


class _StoredTrial(NamedTuple):
    """Content of a trial's file, as `StoredOracle.save_trial` writes it."""

    written: int
    note: dict[str, Any]
    oracle: dict[str, Any]
    trial: Trial


def _read_trial(path: Path) -> _StoredTrial:
    content = json.loads(path.read_bytes())
    trial = Trial.from_state(content["trial"])
    return _StoredTrial(content["written"], content["note"], content["oracle"], trial)
