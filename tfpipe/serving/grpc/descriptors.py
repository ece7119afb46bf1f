"""Messages of protocols that no installed package has, from descriptors in text form.

protoc's output demands a protobuf of its own release, and TensorFlow chooses another; descriptors
hold for each. They are in a pool of their own: another package may have messages of these names.
"""

from functools import cache
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

INFERENCE, HEALTH = "inference", "grpc.health.v1"
REFLECTION, OLD_REFLECTION = "grpc.reflection.v1", "grpc.reflection.v1alpha"


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Returns the pool of all these protocols."""
    protos = resources.files(__package__) / "protos"
    texts = {
        name: (protos / f"{name}.textproto").read_text()
        for name in ("open_inference", "health", "reflection")
    }
    texts["old_reflection"] = (
        texts["reflection"]
        .replace(REFLECTION, OLD_REFLECTION)
        .replace("reflection/v1/", "reflection/v1alpha/")
    )
    made = descriptor_pool.DescriptorPool()
    for text in texts.values():
        made.Add(text_format.Parse(text, descriptor_pb2.FileDescriptorProto()))
    return made


@cache
def message(name: str) -> Any:
    """Returns the class of a message by its full name."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))
