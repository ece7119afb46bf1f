"""Inspection queue: drawn images without their predictions, and one judge's answers."""

from collections.abc import Sequence
from typing import Any, Literal

from tfpipe.base import html
from tfpipe.base.choose import choose
from tfpipe.base.errors import UserError
from tfpipe.review.decision_desk import DecisionDesk
from tfpipe.review.inspection_sample import JUDGES, UNIDENTIFIABLE, InspectionFolder
from tfpipe.review.ranking import ImageScores
from tfpipe.tasks.annotations.decisions import Decision

NOTE = (
    "The images stand in a random order. Neither their names nor their places tell what the model "
    "predicted. Other judges' answers are not shown."
)


class InspectionQueue:
    """The drawn images as a queue of one judge, see `decision_desk.ImageReview`.

    No entry has a prediction, a file's name or another judge's answer.
    """

    kind: Literal["images"] = "images"
    is_blind = True
    progress = ""
    n_rankings = 1

    def __init__(self, folder: InspectionFolder, *, judge: str):
        plan = folder.plan
        self.labels = (*plan.classes, UNIDENTIFIABLE)
        self.notes: tuple[str, ...] = (NOTE,)
        self.desk = DecisionDesk(
            folder.path / JUDGES, f"{judge}.csv", f"{plan.model}/{plan.version}"
        )
        self._judge, self._folder = judge, folder.path
        self._images = folder.sample["image"].tolist()

    def rank(self, scores: ImageScores) -> None:
        """Changes nothing: the order must not depend on the model."""

    def queue(self) -> list[dict[str, Any]]:
        """Returns the images in their order, each with the judge's answer."""
        current = self.desk.log().current
        return [
            self._entry(row, current.get(("", image))) for row, image in enumerate(self._images)
        ]

    def changed(self, lines: Sequence[Decision]) -> list[dict[str, Any]]:
        """Returns the images that answers are about."""
        about = {line.what for line in lines}
        return [entry for entry in self.queue() if entry["key"] in about]

    def thumbnails(self, rows: list[int]) -> dict[int, str]:
        """Returns row -> the image as a data address.

        Raises:
          UserError: there is no such row, or its file is missing.
        """
        self._check(rows)
        return {row: html.data_uri(self._png(row), kind="image/png") for row in rows}

    def decide(self, row: int, *, who: str, action: str, label: str) -> dict[str, Any]:
        """Saves the judge's answer about an image, and returns the image with it.

        Raises:
          UserError: there is no such image or answer, or it could not be saved.
        """
        self._check([row])
        choose(action, ("label",), noun="action on an inspected image")
        choose(label, self.labels, noun="answer")
        image = self._images[row]
        self.desk.decide(self._judge, (f"images/{image}.png", image), label=label, action=action)
        return self._entry(row, self.desk.log().current[("", image)]) | {"other": ""}

    def _png(self, row: int) -> bytes:
        path = self._folder / "images" / f"{self._images[row]}.png"
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(
                f"{path} cannot be read: {error.strerror}. Inspect the files in another --out."
            ) from error

    def _check(self, rows: list[int]) -> None:
        if not all(0 <= row < len(self._images) for row in rows):
            raise UserError(f"There is no image {rows}. Load the page again.")

    def _entry(self, row: int, decision: Decision | None) -> dict[str, Any]:
        return {
            "id": row,
            "key": self._images[row],
            "state": "validated" if decision else "predicted",
            "label": decision.label if decision else "",
            "who": "",
        }
