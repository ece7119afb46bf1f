"""Publishes versions of a text file as soon as the file `go` is there; run as a program."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from made_card import made_card

from tfpipe.registry import store


class TextExport:
    """A model whose export is a text file, for `store.publish`."""

    def write(self, draft: Path) -> dict[str, Any]:
        (draft / "assets.extra").mkdir()
        (draft / "model.txt").write_text("a model")
        return {"kind": "boosted-trees", "inputs": ("columns",)}


def main(folder: Path, count: int) -> None:
    """Prints [folder name, version in the card] of each version that it publishes."""
    print("ready", flush=True)
    while not (folder / "go").is_file():
        time.sleep(0.001)
    made = [store.publish(TextExport(), folder, card=made_card()) for _ in range(count)]
    print(json.dumps([[version.name, store.read_card(version).version] for version in made]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
