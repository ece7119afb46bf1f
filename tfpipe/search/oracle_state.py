"""A KerasTuner oracle's state, kept so that a kill at any moment loses nothing.

KerasTuner writes the search's state to several files in place: a kill in the middle leaves JSON
that cannot be read, or a trial that is counted and never run. Here the whole state is one file,
replaced at once. Each trial is kept once more in a file of its own, written before the state that
counts it; if the state is ever damaged, it is made anew from these.
"""

import json
import logging
from pathlib import Path
from typing import Any

from keras_tuner.engine import trial as trials

from tfpipe.base import files, resumable

LOG = logging.getLogger("tfpipe")
RUNNING, COMPLETED, FAILED = "RUNNING", "COMPLETED", "FAILED"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError)


class Kept:
    """What an oracle needs besides, so that it is kept in a folder.

    Attributes:
      folder: where.
      plan: what is searched (`plan.identity`).
      asked: how many trials there will be.
      chief: name of the process that gives out trials; its own workers' names begin with it.
      notes: trial -> {"worker", "seconds", "losses"}.
      given_up: why the search was, or None.
      small: names of what, of the algorithm's state, the trials themselves do not tell.
    """

    folder: Path
    plan: dict[str, Any]
    asked: int
    chief: str
    notes: dict[str, dict[str, Any]]
    given_up: str | None = None
    small: tuple[str, ...] = ("seed_state",)
    written = 0

    def keep_in(self, folder: Path, *, chief: str) -> None:
        """Goes on with what is kept in a folder, or begins to keep there."""
        self.folder, self.chief = folder, chief
        self.notes = {}
        path, own = folder / "state.json", sorted(folder.glob("trial_*/trial.json"))
        if path.is_file() or own:
            try:
                self._take(json.loads(path.read_bytes()))
            except _DAMAGED:
                if path.is_file():
                    aside = resumable.move_aside(path)
                    LOG.warning(
                        "%s was damaged and is now %s; trials are taken back from their own files.",
                        *(path, aside.name),
                    )
                self._recover(own)
        self.save()

    def save(self):
        state = {
            "plan": self.plan,
            "asked": self.asked,
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

    def _save_trial(self, trial):
        self.written += 1
        state = self.get_state()
        told = {
            "plan": self.plan,
            "written": self.written,
            "note": self.notes.get(trial.trial_id, {}),
            "oracle": {name: state[name] for name in self.small},
            "trial": trial.get_state(),
        }
        path = self.folder / f"trial_{trial.trial_id}" / "trial.json"
        files.replace(path, json.dumps(told).encode())

    def note(self, name: str, **facts) -> None:
        """Notes facts about a trial."""
        self.notes.setdefault(name, {}).update(facts)

    def _take(self, state: dict[str, Any]) -> None:
        """Goes on from a whole state."""
        found = {name: trials.Trial.from_state(told) for name, told in state["trials"].items()}
        notes, written, chief = state["notes"], state["written"], state["chief"]
        self.trials = found
        self.set_state(state["oracle"])
        self.notes, self.written = notes, written
        # KerasTuner saves a trial's end before it takes the trial off the list of running ones.
        for name in [n for n, t in self.ongoing_trials.items() if t.trial_id in self.end_order]:
            del self.ongoing_trials[name]
        # Workers elsewhere may still be at it; the chief's own ended with it.
        for name in [name for name in self.ongoing_trials if name.startswith(f"{chief}-")]:
            self._retry_queue.append(self.ongoing_trials.pop(name).trial_id)
        if state["given_up"]:
            self._again()

    def _again(self) -> None:
        """Has the trials for which a search was given up run once more: the cause may be mended."""
        while self.end_order and self.trials[self.end_order[-1]].status == FAILED:
            trial = self.trials[self.end_order.pop()]
            trial.status, trial.message = RUNNING, None
            self.note(trial.trial_id, losses=0)
            self._retry_queue.append(trial.trial_id)

    def _recover(self, paths: list[Path]) -> None:
        """Makes the state anew from the trials' own files; one that is damaged is run again."""
        found = {}
        for path in paths:
            try:
                told = json.loads(path.read_bytes())
                trial = trials.Trial.from_state(told["trial"])
                found[trial.trial_id] = (told["written"], told["note"], told["oracle"], trial)
            except _DAMAGED:
                aside = resumable.move_aside(path.parent)
                LOG.warning("%s was damaged and is now in %s; it is run again.", path, aside.name)
        if not found:
            return
        self.trials = {name: trial for name, (*_, trial) in found.items()}
        self.notes = {name: note for name, (_, note, *_) in found.items()}
        self.written, _, small, _ = max(found.values(), key=lambda one: one[0])
        ended = [(w, n) for n, (w, *_, t) in found.items() if t.status in (COMPLETED, FAILED)]
        state = self.get_state() | small | {"end_order": [name for _, name in sorted(ended)]}
        self.set_state(state)
        for name in self._missing():
            hp = self.get_space()
            hp.values = self._other_values(name)
            self.trials[name] = trials.Trial(hp, name)
        self.start_order = sorted(self.trials, key=int)
        self.trials = {name: self.trials[name] for name in self.start_order}
        for trial in self.trials.values():
            self._record_values(trial)
        self._retry_queue = [name for name in self.start_order if name not in self.end_order]

    def _missing(self) -> list[str]:
        """Returns the trials whose files were damaged, to judge by the numbers of the others."""
        last = max(self.trials, key=int)
        names = [f"{i:0{len(last)}d}" for i in range(int(last))]
        return [name for name in names if name not in self.trials]

    def _other_values(self, name: str) -> dict[str, Any]:
        """Returns values for a trial whose own are lost."""
        return self._random_values() or dict(self.hyperparameters.values)
