"""Differentiable operations, one file per family, forward and backward side by side.

Everything takes tensors, arrays or numbers and gives tensors; of symbolic tensors it makes nodes of a model's graph
(``symbolic``). Importing this package also gives ``Tensor`` its operators and methods (``methods``).
"""

from tinyconv.ops.activation import (
    elu,
    gelu,
    hard_sigmoid,
    hard_silu,
    heaviside,
    leaky_relu,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    silu,
    softmax,
    softplus,
    softsign,
)  # fmt: skip
from tinyconv.ops.convolution import (
    conv2d,
    conv2d_transpose,
    depthwise_conv2d,
    separable_conv2d,
    true_conv2d,
)  # fmt: skip
from tinyconv.ops.elementwise import (
    absolute,
    add,
    arccos,
    arcsin,
    arctan,
    arctan2,
    astype,
    ceil,
    clip,
    cos,
    cosh,
    divide,
    equal,
    erf,
    exp,
    expm1,
    floor,
    floor_divide,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    log,
    log1p,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    power,
    reciprocal,
    remainder,
    rint,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    where,
)  # fmt: skip
from tinyconv.ops.linalg import dot, einsum, matmul, outer, tensordot
from tinyconv.ops.normalization import batch_norm, layer_norm, local_response_norm, standardize
from tinyconv.ops.pooling import (
    avg_pool2d,
    depth_max_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    max_pool2d,
)  # fmt: skip
from tinyconv.ops.reduction import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    prod,
    sort,
    std,
    sum,
    var,
)  # fmt: skip
from tinyconv.ops.resampling import adaptive_avg_pool, adaptive_max_pool, affine_transform, resize, sample_images
from tinyconv.ops.shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    flatten,
    flip,
    getitem,
    moveaxis,
    pad,
    repeat,
    reshape,
    roll,
    split,
    squeeze,
    stack,
    swapaxes,
    take,
    take_along_axis,
    tile,
    transpose,
)  # fmt: skip
from tinyconv.ops.stochastic import dropout, random_uniform
from tinyconv.ops.volumes import avg_pool3d, conv3d, conv3d_transpose, max_pool3d
from tinyconv.tensor import stop_gradient

abs = absolute
pow = power

__all__ = [
    "abs", "absolute", "adaptive_avg_pool", "adaptive_max_pool", "add", "affine_transform", "all", "any", "arccos",
    "arcsin", "arctan", "arctan2", "argmax", "argmin", "argsort", "astype", "avg_pool2d", "avg_pool3d",
    "batch_norm", "broadcast_to", "ceil", "clip", "concatenate", "conv2d", "conv2d_transpose", "conv3d",
    "conv3d_transpose", "cos", "cosh", "cumsum", "depth_max_pool2d", "depthwise_conv2d", "divide", "dot", "dropout",
    "einsum", "elu", "equal", "erf", "exp", "expand_dims", "expm1", "flatten", "flip", "floor", "floor_divide",
    "gelu", "getitem", "global_avg_pool2d", "global_max_pool2d", "greater", "greater_equal", "hard_sigmoid",
    "hard_silu", "heaviside", "isfinite", "isinf", "isnan", "layer_norm", "leaky_relu", "less", "less_equal",
    "local_response_norm", "log", "log1p", "log_softmax", "logical_and", "logical_not", "logical_or", "logsumexp",
    "matmul", "max", "max_pool2d", "max_pool3d", "maximum", "mean", "min", "minimum", "mish", "moveaxis",
    "multiply", "negative", "not_equal", "outer", "pad", "pow", "power", "prod", "random_uniform", "reciprocal",
    "relu", "relu6", "remainder", "repeat", "reshape", "resize", "rint", "roll", "sample_images", "selu",
    "separable_conv2d", "sigmoid", "sign", "silu", "sin", "sinh", "softmax", "softplus", "softsign", "sort",
    "split", "sqrt", "square", "squeeze", "stack", "standardize", "std", "stop_gradient", "subtract", "sum",
    "swapaxes", "take", "take_along_axis", "tan", "tanh", "tensordot", "tile", "transpose", "true_conv2d", "var",
    "where",
]  # fmt: skip

from tinyconv.ops.symbolic import asking_placeholders  # noqa: E402

for _name in __all__:
    globals()[_name] = asking_placeholders(globals()[_name])
    globals()[_name].__module__ = __name__  # where pickle finds it

from tinyconv.ops import methods  # noqa: E402  (attaches to Tensor what is defined above)
from tinyconv.ops import nn as nn  # noqa: E402

methods.attach(methods.Tensor)
