"""What TensorFlow would run or read is checked before it loads a version."""

from types import SimpleNamespace

import made_card
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from tfpipe.base import files
from tfpipe.base.errors import UserError
from tfpipe.serving import server
from tfpipe.serving.limits import Limits
from tfpipe.serving.model import graph_scan, store
from tfpipe.serving.model.allowed_ops import ALLOWED, SAVER
from tfpipe.serving.model.store import ModelSelector

HARMLESS = ("MatMul", "Relu", "ReadVariableOp")
# Read and write files, run Python, open connections, parse what they are given.
# fmt: off
HARMFUL = (
    "ReadFile", "WriteFile", "MatchingFiles", "TextLineDatasetV2", "TFRecordDatasetV2",
    "PyFunc", "EagerPyFunc", "PyFuncStateless", "DecodeProtoV2", "InitializeTableFromTextFileV2",
    "LoadDataset", "SaveDataset", "Save", "ImmutableConst", "RpcCall", "DebugIdentityV2",
    "DataServiceDataset", "XlaLaunch", "RemoteCall", "PrintV2", "Assert",
)
# fmt: on


def graph(*operations: str, called_by_caller: bool = True) -> bytes:
    """Returns a SavedModel whose signature calls a function of these operations."""
    model = saved_model_pb2.SavedModel()
    whole = model.meta_graphs.add()
    outer, inner = (whole.graph_def.library.function.add() for _ in range(2))
    outer.signature.name, inner.signature.name = "outer", "inner"
    whole.object_graph_def.concrete_functions["outer"].SetInParent()
    for operation in operations:
        inner.node_def.add(op=operation, name=operation)
    call = outer.node_def.add(op="StatefulPartitionedCall" if called_by_caller else "NoOp")
    if called_by_caller:
        call.attr["f"].func.name = "inner"
    return model.SerializeToString()


def test_what_only_computes_passes():
    graph_scan.scan(graph(*HARMLESS), name="m")


@pytest.mark.parametrize("operation", [*HARMFUL, "SomethingNew"])
def test_an_operation_that_may_do_more_is_refused_wherever_it_is(operation):
    for called in (True, False):
        with pytest.raises(UserError, match=f"m contains the operation {operation}, which"):
            graph_scan.scan(graph(*HARMLESS, operation, called_by_caller=called), name="m")


@pytest.mark.parametrize("operation", sorted(SAVER))
def test_what_saves_and_restores_may_be_there_but_not_be_called(operation):
    graph_scan.scan(graph(operation, called_by_caller=False), name="m")
    with pytest.raises(UserError, match=f"the operation {operation},"):
        graph_scan.scan(graph(operation), name="m")


def test_a_function_that_a_loop_calls_is_looked_at_too():
    model = saved_model_pb2.SavedModel.FromString(graph("SaveV2", called_by_caller=False))
    (outer, _) = model.meta_graphs[0].graph_def.library.function
    outer.node_def.add(op="StatelessWhile").attr["body"].func.name = "inner"
    with pytest.raises(UserError, match="the operation SaveV2,"):
        graph_scan.scan(model.SerializeToString(), name="m")


def test_nothing_allowed_is_known_to_be_harmful():
    assert not ALLOWED & {*HARMFUL, *SAVER}
    assert not [name for name in ALLOWED if "File" in name or "Py" in name or "Dataset" in name]


def test_a_file_of_its_own_and_damage_are_refused():
    model = saved_model_pb2.SavedModel.FromString(graph(*HARMLESS))
    model.meta_graphs[0].asset_file_def.add(filename="/etc/passwd")
    with pytest.raises(UserError, match="m reads a file of its own, /etc/passwd"):
        graph_scan.scan(model.SerializeToString(), name="m")
    with pytest.raises(UserError, match="m/saved_model.pb is damaged"):
        graph_scan.scan(b"\xff\xff\xff", name="m")


@pytest.fixture
def version(tmp_path):
    folder = tmp_path / "task" / "model" / "1"
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(graph(*HARMLESS))
    write_card(folder)
    return folder


def write_card(folder, **changes) -> None:
    sums = {"saved_model.pb": files.sha256(folder / "saved_model.pb")}
    made_card.write_card(folder, **{"sha256": sums} | changes)


def test_a_version_as_its_card_says_passes(version):
    assert graph_scan.check_version(version).kind == "classifier"


def test_what_the_card_does_not_vouch_for_is_refused(version):
    (version / "variables").mkdir()
    (version / "variables" / "variables.index").write_bytes(b"more")
    with pytest.raises(UserError, match="task/model/1 contains variables/variables.index, which"):
        graph_scan.check_version(version)


def test_changed_bytes_are_refused(version):
    (version / "saved_model.pb").write_bytes(graph("ReadFile"))
    with pytest.raises(UserError, match="saved_model.pb is missing or not what was exported"):
        graph_scan.check_version(version)
    write_card(version)  # even if the card is changed with them
    with pytest.raises(UserError, match="contains the operation ReadFile"):
        graph_scan.check_version(version)


def test_a_link_is_refused(version, tmp_path):
    (version / "assets").symlink_to(tmp_path)
    with pytest.raises(UserError, match="task/model/1 contains a link, assets"):
        graph_scan.check_version(version)


def test_trees_are_no_network(version):
    write_card(version, kind="boosted-trees")
    with pytest.raises(UserError, match="1 is a version of kind .boosted-trees.; only networks"):
        graph_scan.check_version(version)


def test_a_version_under_two_names_is_loaded_once(version, tmp_path, monkeypatch):
    loaded = []

    def load(folder, **_):
        loaded.append(folder)
        return SimpleNamespace(version=1)

    monkeypatch.setattr(store, "Servable", load)
    for part in ("Explainer", "DriftMonitor"):
        monkeypatch.setattr(store, part, lambda servable: None)
    selectors = [ModelSelector("task"), ModelSelector("task", "model")]
    models = store.ModelStore(tmp_path, selectors, limits=Limits())
    for changes in ({}, None, {"python": "another"}):
        if changes is not None:
            write_card(version, **changes)
        models.refresh()
        assert models.get("task") is models.get("task_model")
    assert loaded == [version, version]  # again when its files changed


def test_selectors_are_parsed(tmp_path):
    texts = ["tiny", "tiny/simple-cnn", "tiny/simple-cnn/3"]
    selectors = server.parse_selectors(texts, models=tmp_path)
    assert selectors == [
        ModelSelector("tiny"),
        ModelSelector("tiny", "simple-cnn"),
        ModelSelector("tiny", "simple-cnn", 3),
    ]
    assert [one.name for one in selectors] == ["tiny", "tiny_simple-cnn", "tiny_simple-cnn"]
    for text in ("", "/x", "tiny//3", "tiny/cnn/x", "a/b/1/2", "../x", "a/..", "tiny/cnn/0"):
        with pytest.raises(UserError, match="Expected TASK, TASK/MODEL, TASK/MODEL/N or the fol"):
            server.parse_selectors([text], models=tmp_path)
    with pytest.raises(UserError, match="has no version yet. Run `tfpipe tune TASK` first"):
        server.parse_selectors([], models=tmp_path)
