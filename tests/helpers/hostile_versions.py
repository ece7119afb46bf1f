"""Versions that look like those of tfpipe and do something else when they are loaded."""

from pathlib import Path

import made_card
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tfpipe.base import files
from tfpipe.models.spec import Spec
from tfpipe.registry import warmup

SPEC = Spec((4, 4, 1), ("a", "b"), (0.0,), (1.0,))
HARMLESS = ("MatMul", "Relu", "ReadVariableOp")


def graph(*operations: str, is_called: bool = True) -> saved_model_pb2.SavedModel:
    """Returns a SavedModel with a function of these operations, and savers as Keras has them.

    Args:
      operations: of the function `inner`.
      is_called: whether the function of the only signature, `outer`, calls it.
    """
    model = saved_model_pb2.SavedModel()
    whole = model.meta_graphs.add()
    library = whole.graph_def.library
    for name, nodes in (
        ("outer", ("StatefulPartitionedCall" if is_called else "NoOp",)),
        ("inner", operations),
        ("saving", ("ReadVariableOp", "SaveV2", "MergeV2Checkpoints", "ShardedFilename")),
        ("restoring", ("RestoreV2", "AssignVariableOp", "NoOp")),
    ):
        function = library.function.add()
        function.signature.name = name
        for node in nodes:
            function.node_def.add(op=node, name=node)
    if is_called:
        library.function[0].node_def[0].attr["f"].func.name = "inner"
    for name in ("saving", "restoring"):
        call = whole.graph_def.node.add(op="StatefulPartitionedCall", name=f"call_{name}")
        call.attr["f"].func.name = name
    whole.saver_def.save_tensor_name = "call_saving:0"
    whole.saver_def.restore_op_name = "call_restoring"
    objects = whole.object_graph_def
    objects.concrete_functions["outer"].SetInParent()
    objects.nodes.add().user_object.identifier = "_generic_user_object"
    objects.nodes.add().bare_concrete_function.concrete_function_name = "outer"
    return model


def write_card(version: Path, **changes) -> None:
    """Writes a card that has the sums of the version's files, as whoever changes them can."""
    paths = [path for path in sorted(version.rglob("*")) if path.is_file()]
    sums = {path.relative_to(version).as_posix(): files.sha256(path) for path in paths}
    sums.pop("assets.extra/card.json", None)
    made_card.write_card(
        version, **{"sha256": sums, "classes": SPEC.classes, "spec": SPEC, "version": 1} | changes
    )


class Answer(tf.Module):
    """A model with tfpipe's signatures that answers one half for each class."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="image")])
    def predict(self, image):
        n = tf.shape(image)[0]
        classes = tf.tile(tf.constant([SPEC.classes]), [n, 1])
        half = tf.fill([n, 2], 0.5)
        return {"probabilities": half, "label": tf.argmax(half, axis=1), "classes": classes}

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="image")])
    def embed(self, image):
        return {"embedding": tf.cast(image[:, 0, :, 0], tf.float32)}

    def save(self, version: Path) -> None:
        """Writes the SavedModel and a card for it."""
        predict = self.predict.get_concrete_function()
        embed = self.embed.get_concrete_function()
        signatures = {"predict_tensor": predict, "serving_default": predict, "embed": embed}
        tf.saved_model.save(self, str(version), signatures=signatures)
        write_card(version)


class WritingResource(tf.saved_model.experimental.TrackableResource):
    """A resource whose initializer writes a file when the model is loaded."""

    def __init__(self, target: Path):
        super().__init__()
        self._target = str(target)

    def _create_resource(self):
        return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=(), shared_name="r")

    def _initialize(self):
        tf.io.write_file(self._target, "written")

    def _destroy_resource(self):
        pass


def with_writing_initializer(version: Path, target: Path) -> None:
    """Writes a version that writes `target` when TensorFlow loads it."""
    model = Answer()
    model.resource = WritingResource(target)
    model.save(version)


class Endless(Answer):
    """A model whose answer never comes."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="image")])
    def predict(self, image):
        half = tf.fill([tf.shape(image)[0], 2], 0.5)
        (half,) = tf.while_loop(lambda p: tf.reduce_max(p) < 1.0, lambda p: [p * 1.0], [half])
        return {"probabilities": half}


class EndlessForWhite(Answer):
    """A model whose answer never comes for an image that begins with a white pixel."""

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.uint8, name="image")])
    def predict(self, image):
        half = tf.fill([tf.shape(image)[0], 2], 0.5)
        is_white = tf.reduce_any(image[:, 0, 0, 0] == 255)
        (half,) = tf.while_loop(lambda p: is_white, lambda p: [p * 1.0], [half])
        return {"probabilities": half}


def endless_for_white(version: Path) -> None:
    """Writes a version that computes for ever if an image begins with a white pixel."""
    EndlessForWhite().save(version)


def endless(version: Path) -> None:
    """Writes a version whose warm-up request is computed for ever."""
    Endless().save(version)
    (version / "assets.extra").mkdir(exist_ok=True)
    warmup.write(version, {"predict_tensor": {"image": IMAGES[:1]}})
    write_card(version)


def without_objects(version: Path, target: Path) -> None:
    """Writes a version of TensorFlow 1 whose first operation saves a tensor as `target`."""
    with tf.Graph().as_default() as whole:
        image = tf.compat.v1.placeholder(tf.uint8, (None, 4, 4, 1), name="image")
        save = tf.raw_ops.SaveV2(
            prefix=str(target), tensor_names=["t"], shape_and_slices=[""], tensors=[tf.zeros(1)]
        )
        half = tf.fill([tf.shape(image)[0], 2], 0.5)
        signature = tf.compat.v1.saved_model.signature_def_utils.predict_signature_def
        signatures = {
            "predict_tensor": signature({"image": image}, {"probabilities": half}),
            "serving_default": signature({"image": image}, {"probabilities": half}),
            "embed": signature({"image": image}, {"embedding": half}),
        }
        builder = tf.compat.v1.saved_model.Builder(str(version))
        with tf.compat.v1.Session(graph=whole) as session:
            builder.add_meta_graph_and_variables(
                session, ["serve"], signature_def_map=signatures, main_op=save
            )
        builder.save()
    write_card(version)


IMAGES = np.zeros((3, 4, 4, 1), np.uint8)
