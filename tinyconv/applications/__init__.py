"""Ready networks. Small ones have ``build(width, height, depth, classes)`` and return an uncompiled ``Sequential``."""

from tinyconv.applications.lenet import LeNet
from tinyconv.applications.minivggnet import MiniVGGNet
from tinyconv.applications.shallownet import ShallowNet

__all__ = ["LeNet", "MiniVGGNet", "ShallowNet"]
