"""A version's card of no version, or written into its folder."""

from pathlib import Path
from typing import Any

from tfpipe.registry.card import VersionCard


def made_card(**fields: Any) -> VersionCard:
    """Returns a card with some fields set."""
    return VersionCard(**{"task": "tiny", "model": "simple-cnn"} | fields)


def write_card(version: Path, /, **fields: Any) -> None:
    """Writes the card into a version's folder, which is made."""
    folder = version / "assets.extra"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").write_bytes(made_card(**fields).to_json())
