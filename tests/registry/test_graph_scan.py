"""A SavedModel that does more than compute is refused by its graph, before TensorFlow loads it."""

import hostile_versions
import pytest
from hostile_versions import HARMLESS, graph

from tfpipe.base.errors import UserError
from tfpipe.registry import graph_scan
from tfpipe.registry.allowed_ops import ALLOWED, SAVER, TOP_LEVEL

# Read and write files, run Python, open connections, parse what they are given.
# fmt: off
HARMFUL = (
    "ReadFile", "WriteFile", "MatchingFiles", "TextLineDatasetV2", "TFRecordDatasetV2",
    "PyFunc", "EagerPyFunc", "PyFuncStateless", "DecodeProtoV2", "InitializeTableFromTextFileV2",
    "LoadDataset", "SaveDataset", "Save", "ImmutableConst", "RpcCall", "DebugIdentityV2",
    "DataServiceDataset", "XlaLaunch", "RemoteCall", "PrintV2", "Assert",
)
# fmt: on


def scan(model) -> None:
    graph_scan.scan(model.SerializeToString(), name="m")


def refused(model, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        scan(model)


def test_what_only_computes_passes():
    scan(graph(*HARMLESS))


@pytest.mark.parametrize("operation", [*HARMFUL, "SomethingNew", "inner"])
def test_an_operation_that_may_do_more_is_refused_wherever_it_is(operation):
    sentence = f"m contains the operation {operation}, which"
    for is_called in (True, False):
        refused(graph(*HARMLESS, operation, is_called=is_called), sentence)
    top = graph(*HARMLESS)
    top.meta_graphs[0].graph_def.node.add(op=operation, name="more")
    refused(top, sentence)
    saver = graph(*HARMLESS)
    saver.meta_graphs[0].graph_def.library.function[2].node_def.add(op=operation, name="more")
    refused(saver, sentence)


@pytest.mark.parametrize("operation", sorted(SAVER - ALLOWED))
def test_what_saves_and_restores_is_allowed_in_the_two_savers_only(operation):
    for is_called in (True, False):
        refused(graph(operation, is_called=is_called), f"the operation {operation},")
    top = graph(*HARMLESS)
    top.meta_graphs[0].graph_def.node.add(op=operation, name="more")
    if operation in TOP_LEVEL:
        scan(top)
    else:
        refused(top, f"the operation {operation},")


@pytest.mark.parametrize("saver", ["saving", "restoring"])
def test_nothing_calls_the_savers(saver):
    sentence = "m calls the function that saves or restores its weights"

    def called_by_an_object(whole):
        whole.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = saver

    def called_by_a_function(whole):
        node = whole.graph_def.library.function[1].node_def.add(op="StatelessWhile", name="w")
        node.attr["body"].func.name = saver

    def called_within_an_attribute(whole):
        node = whole.graph_def.library.function[1].node_def.add(op="If", name="i")
        node.attr["then_branch"].func.name = "inner"
        node.attr["then_branch"].func.attr["f"].list.func.add().name = saver

    def called_at_the_top_level(whole):
        node = whole.graph_def.node.add(op="PartitionedCall", name="another")
        node.attr["f"].func.name = saver

    def called_as_a_gradient(whole):
        whole.graph_def.library.registered_gradients.add().gradient_func = saver

    def listed_as_a_function(whole):
        whole.object_graph_def.concrete_functions[saver].SetInParent()

    for change in (
        called_by_an_object,
        called_by_a_function,
        called_within_an_attribute,
        called_at_the_top_level,
        called_as_a_gradient,
        listed_as_a_function,
    ):
        model = graph(*HARMLESS)
        change(model.meta_graphs[0])
        refused(model, sentence)


def test_a_function_of_another_model_is_not_called():
    model = graph(*HARMLESS)
    model.meta_graphs[0].graph_def.library.function[0].node_def[0].attr["f"].func.name = "other"
    refused(model, "calls a function that it does not have, other")


def test_a_file_has_one_graph_with_its_objects():
    model = graph(*HARMLESS)
    model.meta_graphs.add().CopyFrom(model.meta_graphs[0])
    refused(model, "m has 2 graphs, expected exactly one with its objects")
    model = graph(*HARMLESS)
    model.meta_graphs[0].ClearField("object_graph_def")
    refused(model, "m has one graph without its objects, expected")
    with pytest.raises(UserError, match="m has 0 graphs, expected"):
        graph_scan.scan(b"", name="m")


def test_objects_hold_functions_weights_and_constants_only():
    def resource(node):
        node.resource.SetInParent()

    def asset(node):
        node.asset.SetInParent()

    def nothing(node):
        del node

    def registered(node):
        node.variable.SetInParent()
        node.registered_name = "Custom.Reader"

    def optimizer(node):
        node.user_object.identifier = "optimizer"

    def restoring(node):
        node.variable.SetInParent()
        node.saveable_objects["VALUE"].save_function = 1

    def slots(node):
        node.user_object.identifier = "_generic_user_object"
        node.slot_variables.add()

    for change, sentence in (
        (resource, "contains an object of kind resource"),
        (asset, "contains an object of kind asset"),
        (nothing, "contains an object of kind nothing"),
        (registered, "contains an object of kind Custom.Reader"),
        (optimizer, "contains the object 'optimizer'"),
        (restoring, "contains an object that restores itself"),
        (slots, "contains an object that restores itself"),
    ):
        model = graph(*HARMLESS)
        change(model.meta_graphs[0].object_graph_def.nodes.add())
        refused(model, sentence)


def test_a_function_is_defined_once():
    model = graph(*HARMLESS)
    model.meta_graphs[0].graph_def.library.function.add().signature.name = "saving"
    refused(model, "m defines a function twice")


def test_a_file_of_its_own_and_damage_are_refused():
    model = graph(*HARMLESS)
    model.meta_graphs[0].asset_file_def.add(filename="/etc/passwd")
    refused(model, "m reads a file of its own, /etc/passwd")
    with pytest.raises(UserError, match="m/saved_model.pb is damaged"):
        graph_scan.scan(b"\xff\xff\xff", name="m")


def test_nothing_allowed_is_known_to_be_harmful():
    assert not ALLOWED & {*HARMFUL, "SaveV2", "RestoreV2", "MergeV2Checkpoints"}
    for name in ("File", "Py", "Dataset", "Save", "Restore", "Merge"):
        assert not [operation for operation in TOP_LEVEL if name in operation]


@pytest.mark.slow
def test_a_model_that_tensorflow_saves_passes_and_one_with_a_resource_does_not(tmp_path):
    hostile_versions.Answer().save(tmp_path / "1")
    graph_scan.scan((tmp_path / "1" / "saved_model.pb").read_bytes(), name="m")
    hostile_versions.with_writing_initializer(tmp_path / "2", tmp_path / "written")
    with pytest.raises(UserError, match="m contains an object of kind resource"):
        graph_scan.scan((tmp_path / "2" / "saved_model.pb").read_bytes(), name="m")
