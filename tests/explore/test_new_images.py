"""New images are explored by the embeddings of a table alone, among the training images."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import run_command
import tiny
from made_card import write_card
from pyarrow import parquet

from tfpipe.base import files, table_writers
from tfpipe.base.errors import UserError
from tfpipe.explore import embeddings, new_images
from tfpipe.explore.run import ExplorationConfig
from tfpipe.registry import store


def table(path, embedding, **metadata):
    """Writes a table as `tfpipe predict --embedding` does."""
    names = [f"embedding_{i}" for i in range(embedding.shape[1])]
    frame = pd.DataFrame(embedding, columns=names)
    frame["key"] = [f"new{i}" for i in range(len(frame))]
    # A column of its own that begins as those of the embedding do is none of them.
    frame = frame.assign(group="run", label="bright", embedding_model="cnn")
    named = {f"tfpipe.{name}": value for name, value in metadata.items()}
    with table_writers.writing(path, metadata=named) as write:
        write(frame)
    return path


def without_row_groups(path):
    schema = parquet.read_schema(table(path, np.zeros((1, 8))))
    with parquet.ParquetWriter(path, schema):
        pass


def with_words(path):
    table(path, np.zeros((3, 8)))
    pd.read_parquet(path).assign(embedding_3="much").to_parquet(path)


@pytest.fixture(scope="module")
def explored(tmp_path_factory):
    """How a version that was never trained is explored, and its embeddings of all images."""
    folder = tmp_path_factory.mktemp("tiny")
    data = tiny.packed(folder)
    spec = tiny.spec_of(data)
    model = tiny.build(spec)
    version = folder / "models" / "tiny" / "simple-cnn" / "1"
    path = version / "assets.extra" / "model.keras"
    path.parent.mkdir(parents=True)
    model.save(path)
    write_card(
        version,
        kind="classifier",
        classes=tiny.CLASSES,
        spec=spec,
        data=data.manifest.summary,
        sha256={"assets.extra/model.keras": files.sha256(path)},
    )
    config = ExplorationConfig(tiny.TASK, version, data.folder, folder / "out")
    return config, embeddings.compute_outputs(model, data).embedding


@pytest.mark.slow
def test_a_training_image_is_in_its_own_place_and_a_strange_one_comes_first(explored, tmp_path):
    config, embedding = explored
    new = np.concatenate([embedding[:5], embedding[:1] + 50])
    card = store.read_card(config.version)
    identity = {name.removeprefix("tfpipe."): value for name, value in card.identity.items()}
    path = table(tmp_path / "t.parquet", new, **identity)
    config = replace(config, embeddings=path, out=tmp_path / "out")
    summary = new_images.explore(config)
    assert summary["images"] == summary["queue"] == 6
    assert sorted(path.name for path in config.out.iterdir()) == sorted(summary["files"])
    rows = pd.read_csv(config.out / "map.csv")
    is_new = rows["split"] == "new"
    training, placed = rows[~is_new].iloc[:5], rows[is_new].iloc[:5]
    for name in ("x", "y", "mahalanobis"):
        np.testing.assert_allclose(placed[name], training[name], rtol=1e-3)
    queue = pd.read_csv(config.out / "queue.csv")
    assert queue["key"][0] == "new5" and set(queue["split"]) == {"new"}
    assert set(queue["predicted"]) == {"bright"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: path.write_text("key,label\n"), "cannot be read as a Parquet file"),
        (lambda path: table(path, np.zeros((3, 0))), "has no embeddings, expected the columns"),
        (lambda path: table(path, np.zeros((0, 8))), "has no rows"),
        (without_row_groups, "has no rows"),
        (with_words, "string in the column embedding_3, expected numbers"),
        (
            lambda path: table(path, np.zeros((3, 8)), model="cnn", version="4", sha256="0"),
            "by version 4 of cnn, which is another one than version 1 of simple-cnn",
        ),
        (lambda path: table(path, np.full((3, 8), np.inf)), r"row 1 \(new0\) has an embedding"),
        (lambda path: table(path, np.zeros((3, 5))), "of 5 numbers, but version 1 of simple-cnn"),
        (lambda path: None, "cannot be read as a Parquet file"),
    ],
)
def test_a_table_that_will_not_do_is_a_sentence(explored, tmp_path, change, sentence):
    path = tmp_path / "t.parquet"
    change(path)
    config = replace(explored[0], embeddings=path, out=tmp_path / "out")
    with pytest.raises(UserError, match=sentence):
        new_images.explore(config)
    assert not config.out.exists()


def test_what_needs_the_images_is_refused(monkeypatch, capsys):
    words = ("explore", "tiny", "--embeddings", "t.parquet", "--leave-out", "each")
    assert "need the images" in run_command.refusal(monkeypatch, capsys, *words)
