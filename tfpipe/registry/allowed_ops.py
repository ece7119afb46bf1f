"""Allowed TensorFlow operations of a version's graph.

Each of them computes from tensors and from the model's own variables. None reads or writes a file,
opens a connection, runs Python, or hands memory to another process. The operations of tfpipe's
models are among them, and those that other networks on images and numbers commonly use.
"""

# fmt: off
_CALLS = {
    "PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile",
    "Identity", "IdentityN", "NoOp", "StopGradient", "EnsureShape",
}
_VARIABLES = {"Const", "Placeholder", "ReadVariableOp", "VarHandleOp", "VarIsInitializedOp"}
_ARITHMETIC = {
    "Abs", "AddV2", "BatchMatMulV2", "Cast", "Ceil", "ClipByValue", "Div", "Einsum", "Erf",
    "Exp", "Floor", "FloorDiv", "FloorMod", "Log", "Log1p", "MatMul", "Maximum", "Minimum",
    "Mul", "Neg", "Pow", "RealDiv", "Reciprocal", "Round", "Rsqrt", "Sign", "Sqrt", "Square",
    "SquaredDifference", "Sub", "Tanh",
}
_COMPARISONS = {
    "All", "Any", "Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd",
    "LogicalNot", "LogicalOr", "NotEqual", "Select", "SelectV2",
}
_REDUCTIONS = {"ArgMax", "ArgMin", "Max", "Mean", "Min", "Prod", "Sum", "TopKV2"}
_SHAPES = {
    "BroadcastTo", "ConcatV2", "ExpandDims", "Fill", "GatherNd", "GatherV2", "MirrorPad",
    "OnesLike", "Pack", "Pad", "PadV2", "Range", "Rank", "Reshape", "ReverseV2", "Shape",
    "Size", "Slice", "Split", "SplitV", "Squeeze", "StridedSlice", "Tile", "Transpose",
    "Unpack", "ZerosLike",
}
_LAYERS = {
    "AvgPool", "BiasAdd", "Conv2D", "Conv2DBackpropInput", "DepthwiseConv2dNative", "Elu",
    "FusedBatchNormV3", "LeakyRelu", "MaxPool", "Relu", "Relu6", "Selu", "Sigmoid", "Softmax",
    "Softplus", "Softsign",
}
_IMAGES = {
    "DecodeImage", "DecodeRaw", "ResizeArea", "ResizeBicubic", "ResizeBilinear",
    "ResizeNearestNeighbor", "ScaleAndTranslate",
}
_LISTS = {
    "TensorListFromTensor", "TensorListGetItem", "TensorListReserve", "TensorListSetItem",
    "TensorListStack",
}
ALLOWED: frozenset[str] = frozenset().union(
    _CALLS, _VARIABLES, _ARITHMETIC, _COMPARISONS, _REDUCTIONS, _SHAPES, _LAYERS, _IMAGES, _LISTS
)
# At the top level of a graph, variables are set to what they are saved as. TensorFlow loads a
# version without computing the top level.
TOP_LEVEL: frozenset[str] = ALLOWED | {"AssignVariableOp"}
# In the two functions that TensorFlow writes beside a model to save and restore its weights.
SAVER: frozenset[str] = ALLOWED | {
    "AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2",
    "ShardedFilename", "StaticRegexFullMatch", "StringJoin",
}
# fmt: on
