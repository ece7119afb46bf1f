"""Readers and damaged files: each returns, or refuses with a sentence. More: benchmarks/fuzz.py."""

import zlib

import fuzzing
import numpy as np
import pytest

from tfpipe.base.errors import UserError

FILES = 60


@pytest.mark.filterwarnings("ignore")  # libraries warn about what is damaged
@pytest.mark.parametrize("reader", fuzzing.READERS)
def test_a_damaged_file_is_read_or_refused(reader, tmp_path):
    paths = fuzzing.seed_files(reader, tmp_path / reader)
    for path in paths:
        fuzzing.read(reader, path)  # undamaged
    rng = np.random.default_rng(zlib.crc32(reader.encode()))
    refused = 0
    for i in range(FILES):
        path = paths[i % len(paths)]
        with fuzzing.damaged(path, rng):
            try:
                fuzzing.read(reader, path)
            except fuzzing.REFUSALS as error:
                assert str(error)
                refused += 1
    assert refused > FILES // 10


# Findings.


@pytest.mark.parametrize(
    ("reader", "name"),
    [("exposures", "exposure.npy"), ("cubes", "delta_T_z005.00_fesc0.070_seed1_8_150Mpc.npy")],
)
def test_an_open_bracket_in_the_head_of_an_array_is_refused(reader, name, tmp_path):
    fuzzing.seed_files(reader, tmp_path / reader)
    path = tmp_path / reader / name
    path.write_bytes(path.read_bytes().replace(b"(", b"((", 1).replace(b" \n", b"\n", 1))
    with pytest.raises(UserError, match="cannot be read as"):
        fuzzing.read(reader, path)


def test_a_damaged_link_of_an_hdf5_file_is_refused(tmp_path):
    fuzzing.seed_files("cubes", tmp_path / "cubes")
    path = tmp_path / "cubes" / "cube.h5"
    path.write_bytes(path.read_bytes().replace(b"SNOD", b"SNOX"))
    with pytest.raises(UserError, match="cannot be read as cubes"):
        fuzzing.read("cubes", path)


@pytest.mark.parametrize("name", ["run.yaml", "manifest.json", "assets.extra/card.json"])
def test_a_deeply_nested_document_is_refused(name, tmp_path):
    fuzzing.seed_files("documents", tmp_path / "documents")
    path = tmp_path / "documents" / name
    path.write_bytes(b"[" * 5_000)
    with pytest.raises(UserError):
        fuzzing.read("documents", path)
