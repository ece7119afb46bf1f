"""The task of four classes with files that are damaged, or crash their reader."""

import time
from dataclasses import replace

import four_class_task
import numpy as np
from made_card import made_card

from tfpipe.base.errors import UserError
from tfpipe.models.spec import Spec
from tfpipe.registry import store
from tfpipe.registry.export import NetworkExport

SPEC = Spec(
    (16, 16, 1),
    four_class_task.CLASSES,
    (100.0,),
    (50.0,),
    columns=("level", "other"),
    column_mean=(0.0, 0.0),
    column_std=(1.0, 1.0),
)


def read(source, options):
    """Reads a file: a number, or "damaged", or "slow" and a number; anything else crashes."""
    text = source.path.read_text()
    if text == "damaged":
        raise UserError(f"{source.name} is damaged. Copy it again.")
    if text.startswith("slow"):
        time.sleep(0.1)
        source.path.with_suffix(".read").write_text("")
        number = source.path.with_suffix(".number")
        number.write_text(text.removeprefix("slow "))
        source = replace(source, path=number)
    return four_class_task.read(source, options)


TASK = replace(four_class_task.TASK, whole_file=None, read=read)


def publish(folder, predictions):
    """Publishes a version that was never trained, with some predictions; returns its folder."""
    examples = {
        "image": np.zeros((2, 16, 16, 1), np.uint8),
        "columns": np.zeros((2, 2), np.float32),
    }
    return store.publish(
        NetworkExport(four_class_task.of_both(SPEC), SPEC, examples),
        folder / "kinds" / "both",
        card=made_card(task="kinds", model="both", classes=four_class_task.CLASSES),
        tables={"predictions": predictions},
    )
