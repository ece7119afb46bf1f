"""Object storage: URLs of folders, their local copies, and what one call can do to a file."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import object_storage
import pytest
from object_storage import place, s3_server  # noqa: F401
from run_command import refusal

from tfpipe.base import storage
from tfpipe.base.errors import UserError


def opened(url: str) -> storage.StorageFolder:
    found = storage.storage_of(storage.local_folder(url))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s3://", "no URL of a folder"),
        ("memory:/x", "no URL of a folder"),
        (Path("memory://x"), "no URL of a folder"),  # which has lost a slash
        ("https://example.org/data", "https:// is not supported"),
        ("nothing://x/y", "nothing:// is not supported"),
        ("sftp://me@host/data", "sftp:// is not supported"),
    ],
)
def test_a_url_that_is_no_storage_is_refused(url, sentence, tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    with pytest.raises(UserError, match=sentence):
        storage.local_folder(url)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "url",
    [
        "s3://key:hidden@bucket/data",
        "s3://hidden@bucket/data",
        "hdfs://me:hidden@host:8020/data",
        "hdfs://me:hid@hidden@host/data",
        "s3://key:hid/hidden@bucket/data",
        "hdfs://me:hid/hidden@host:8020/data",
        "https://me:hidden@host/data",
        Path("s3://key:hidden@bucket/data"),
    ],
)
def test_a_url_with_a_password_is_refused_and_neither_stored_nor_printed(
    url, tmp_path, monkeypatch
):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"\*\*\*@") as refused:
        storage.local_folder(url)
    assert "hid" not in str(refused.value).replace("which", "")
    assert not (tmp_path / "cache").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))

    def lacking(protocol):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "get_filesystem_class", lacking)
    with pytest.raises(UserError, match=r"Please install gcsfs. Run `pip install gcsfs`"):
        storage.local_folder("gs://x/y")


def test_a_folder_is_no_url_and_has_no_storage(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    for folder in ("data", str(tmp_path), tmp_path / "a:b"):
        assert storage.local_folder(folder) == Path(folder)
        assert storage.storage_of(Path(folder)) is None
    storage.fetch(tmp_path), storage.push(tmp_path), storage.check_writable(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_local_copy_belongs_to_one_url_and_is_printed_as_it(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    urls = ["memory://a/b", "memory://a-b", "memory://a/b/c"]
    copies = [storage.local_folder(url) for url in urls]
    assert len(set(copies)) == 3 and storage.local_folder("memory://a/b/") == copies[0]
    for url, copy in zip(urls, copies, strict=True):
        assert storage.with_urls(f"See {copy}/x, {copy}.") == f"See {url}/x, {url}."
    assert storage.with_urls(f"{tmp_path}/cache/other/x") == f"{tmp_path}/cache/other/x"


def test_of_many_who_create_a_file_at_once_one_succeeds(place):  # noqa: F811
    stored = opened(place)
    stored.check_writable()
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: stored.create("a/b", b"by %d" % i), range(8)))
    assert sum(made) == 1 and stored.read("a/b") == b"by %d" % made.index(True)
    assert stored.create("a/b", stored.read("a/b"))  # as where an answer was lost
    assert object_storage.names(place) == ["a/b"]
    stored.remove(["a/b", "a/b"])
    assert stored.read("a/b") is None and stored.create("a/b", b"again")


def test_a_fetched_folder_follows_the_storage_and_loses_nothing_else(place):  # noqa: F811
    stored = opened(place)
    raw = stored.copy / "raw" / "task"
    for name in ("one.txt", "in/two.txt", "three.txt"):
        stored.write(f"raw/task/{name}", name.encode())
    storage.fetch(raw)
    (raw / "mine.txt").write_text("not stored")
    before = {path: path.stat().st_ino for path in raw.rglob("*") if path.is_file()}
    stored.write("raw/task/in/two.txt", b"changed")
    stored.remove(["raw/task/one.txt"])
    storage.fetch(raw)
    after = {path: path.stat().st_ino for path in raw.rglob("*") if path.is_file()}
    assert {path.name for path in after} == {"two.txt", "three.txt", "mine.txt"}
    assert (raw / "in" / "two.txt").read_text() == "changed"
    assert after[raw / "three.txt"] == before[raw / "three.txt"]  # not fetched again


def test_a_fetch_that_failed_on_the_way_goes_on(place, monkeypatch):  # noqa: F811
    stored = opened(place)
    raw = stored.copy / "raw"
    for i in range(20):
        stored.write(f"raw/{i:02d}.txt", b"%d" % i)
    get, fetched = storage.StorageFolder.download, []

    def failing(self, name, path):
        if len(fetched) > 9:
            raise UserError("The network is down.")
        fetched.append(name)
        get(self, name, path)

    monkeypatch.setattr(storage.StorageFolder, "download", failing)
    with pytest.raises(UserError, match="down"):
        storage.fetch(raw)
    first, fetched = set(fetched), []
    monkeypatch.setattr(
        storage.StorageFolder,
        "download",
        lambda self, name, path: fetched.append(name) or get(self, name, path),
    )
    storage.fetch(raw)
    assert len(list(raw.glob("*.txt"))) == 20
    assert sorted([*first, *fetched]) == [f"raw/{i:02d}.txt" for i in range(20)]


class Keyed(object_storage.CountedSystem):
    """A storage of keys, as S3 is: a key may end in a slash, or have two."""

    def find(self, root, *, detail):
        stored = self._system.find(root, detail=detail)
        odd = ("raw/", "raw/photos/", "raw//lost.txt", "raw/a//b.txt")
        return stored | {f"{root}/{key.removeprefix('raw/')}": {"size": 0} for key in odd}


def test_keys_that_are_no_files_are_not_fetched(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    opened(f"file://{tmp_path}/stored").write("raw/photos/a.txt", b"a")
    monkeypatch.setattr(storage, "BY_CONDITION", ("file",))
    open_system = fsspec.core.url_to_fs
    monkeypatch.setattr(
        fsspec.core, "url_to_fs", lambda url: (Keyed(open_system(url)[0]), open_system(url)[1])
    )
    stored = opened(f"file://{tmp_path}/stored")
    for _ in range(2):
        storage.fetch(stored.copy / "raw")
    assert (stored.copy / "raw" / "photos" / "a.txt").read_text() == "a"
    assert set(stored.listing(stored.copy / "raw")) == {"photos/a.txt"}
    assert caplog.text.count("names with an empty part, as in 'a//b', are left out") == 1


def test_a_storage_that_cannot_be_listed_costs_no_local_copy(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    stored = opened(f"file://{tmp_path}/stored")
    stored.write("raw/in/a.txt", b"a")
    raw = stored.copy / "raw"
    storage.fetch(raw)
    system = type(fsspec.filesystem("file"))
    listed = system.ls
    for refused in ("/stored/raw", "/stored/raw/in"):

        def ls(self, path, detail=False, refused=refused, **options):
            if path.endswith(refused):
                raise PermissionError(f"Permission denied: {path}")
            return listed(self, path, detail, **options)

        with monkeypatch.context() as patch:
            patch.setattr(system, "ls", ls)
            with pytest.raises(UserError, match="cannot be listed: Permission denied"):
                storage.fetch(raw)
    (tmp_path / "stored").rename(tmp_path / "away")  # a share that is not mounted
    with pytest.raises(UserError, match="is empty or gone, but files were fetched"):
        storage.fetch(raw)
    (tmp_path / "stored").mkdir()
    with pytest.raises(UserError, match="is empty or gone, but files were fetched"):
        storage.fetch(raw)
    assert (raw / "in" / "a.txt").read_text() == "a"
    (tmp_path / "stored").rmdir()
    (tmp_path / "away").rename(tmp_path / "stored")
    stored.remove(["raw/in/a.txt"])
    storage.fetch(raw)
    assert not (raw / "in" / "a.txt").exists()


@pytest.mark.parametrize("method", ["create", "write"])
def test_a_file_appears_whole(method, tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    stored = opened(f"file://{tmp_path}/stored")
    met, system = [], type(fsspec.filesystem("file"))
    pipe = system.pipe_file

    def slow(self, path, value, **options):
        pipe(self, path, b"", **options)
        met.append((stored.read("a/manifest.json"), set(stored.listing(stored.copy))))
        pipe(self, path, value, **options)

    monkeypatch.setattr(system, "pipe_file", slow)
    getattr(stored, method)("a/manifest.json", b"whole")
    assert met == [(None, set())] and stored.read("a/manifest.json") == b"whole"
    assert [path.name for path in (tmp_path / "stored" / "a").iterdir()] == ["manifest.json"]


def test_what_could_not_be_uploaded_is_uploaded_later(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    stored = opened(f"file://{tmp_path}/stored")
    folder = stored.copy / "task" / "model" / "explore-1"
    folder.mkdir(parents=True)
    (folder / "map.csv").write_text("x,y")

    def away(self, paths, **_):
        raise UserError("The storage is away.")

    with monkeypatch.context() as patch:
        patch.setattr(storage.StorageFolder, "upload", away)
        assert storage.push_or_keep(folder) == folder
        storage.push_rest(stored.copy / "task")
    assert caplog.text.count("The storage is away.") == 2
    assert f"explore-1 in {tmp_path}/cache. The next command" in storage.with_urls(caplog.text)
    storage.push_rest(stored.copy / "task")
    assert stored.read("task/model/explore-1/map.csv") == b"x,y"
    (folder / "map.csv").write_text("not uploaded twice")
    storage.push_rest(stored.copy / "task")
    assert stored.read("task/model/explore-1/map.csv") == b"x,y"


def test_a_damaged_or_changing_file_is_fetched_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    stored = opened(f"file://{tmp_path}/stored")
    stored.write("raw/a.txt", b"whole")
    raw = stored.copy / "raw"
    storage.fetch(raw)
    (raw / "a.txt").write_bytes(b"who")
    storage.fetch(raw)
    assert (raw / "a.txt").read_bytes() == b"whole"
    listing = storage.StorageFolder.listing

    def early(self, folder):
        listed = listing(self, folder)
        stored.write("raw/a.txt", b"whole, and more")
        return {name: file._replace(tag="new") for name, file in listed.items()}

    with monkeypatch.context() as patch:
        patch.setattr(storage.StorageFolder, "listing", early)
        with pytest.raises(UserError, match="changed while it was fetched"):
            storage.fetch(raw)
    assert not (raw / "a.txt").exists()
    storage.fetch(raw)
    assert (raw / "a.txt").read_bytes() == b"whole, and more"


def test_names_that_leave_the_folder_are_not_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    stored = opened("memory://names")
    file = storage.StoredFile(1, "tag", 0.0)
    for name in ("../outside", "/outside", "a/../../outside"):
        with pytest.raises(UserError, match="outside"):
            stored.fetch(stored.copy / "raw", {name: file})
    assert not list(tmp_path.rglob("outside"))


def test_a_storage_without_conditional_put_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "BY_OPENING", ())  # as hdfs://
    stored = opened(f"file://{tmp_path}/stored")
    with pytest.raises(UserError, match="can be read, but not published to"):
        stored.check_writable()

    class Careless(object_storage.CountedSystem):
        def pipe_file(self, path, data, mode="overwrite"):
            self._system.pipe_file(path, data)

    (tmp_path / "stored").mkdir()

    monkeypatch.setattr(storage, "BY_CONDITION", ("file",))  # as a server that ignores the header
    open_system = fsspec.core.url_to_fs
    monkeypatch.setattr(
        fsspec.core, "url_to_fs", lambda url: (Careless(open_system(url)[0]), open_system(url)[1])
    )
    with pytest.raises(UserError, match="no conditional put"):
        opened(f"file://{tmp_path}/stored").check_writable()


def test_a_storage_that_fails_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE, str(tmp_path / "cache"))
    stored = opened(f"file://{tmp_path}/stored")
    stored.write("raw/a.txt", b"a")
    (tmp_path / "stored" / "raw").chmod(0o000)
    if os.access(tmp_path / "stored" / "raw", os.R_OK):  # root reads everything
        (tmp_path / "stored" / "raw").chmod(0o755)
        monkeypatch.setattr(
            type(fsspec.filesystem("file")),
            "get_file",
            lambda *_: (_ for _ in ()).throw(RuntimeError("Token has expired.\nAt line 5.")),
        )
    with pytest.raises(UserError, match=r"stored.* Check the address, the credentials"):
        storage.fetch(stored.copy / "raw")


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "melt-layer", "x.png", "--out", "s3://bucket/x.csv"),
        ("predict", "melt-layer", "s3://bucket/x.png", "--out", "x.csv"),
        ("tasks", "--data", "s3://bucket/x"),
        ("tasks", "--data", "s3://me:hidden@bucket/x"),
        ("search", "melt-layer", "--models", "s3://bucket/x"),
        ("review", "melt-layer", "--models", "s3://bucket/x"),
        ("rerun", "s3://bucket/run.yaml"),
    ],
)
def test_a_command_that_takes_only_local_files_says_so(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sentence = refusal(monkeypatch, capsys, *words)
    assert "takes a file or folder of this machine here" in sentence and "hidden" not in sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [("pack", "memory://x"), ("predict", "memory://x/1", "a.png")])
def test_a_url_is_no_task(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    out = ("--out", "x.csv") if words[0] == "predict" else ()
    assert "memory://x" in refusal(monkeypatch, capsys, *words, *out)


def test_a_user_without_a_home_has_a_folder_for_copies(monkeypatch, tmp_path):
    for name in ("HOME", "XDG_CACHE_HOME", storage.CACHE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 5)
    assert storage.cache_folder().name == "tfpipe"
    assert storage.with_urls("a text without a path") == "a text without a path"
