"""Ready networks.

Small ones have ``build(width, height, depth, classes)`` and return an uncompiled ``Sequential``. Those for ImageNet are
functions with Keras's arguments, which return an uncompiled functional model whose layers have Keras's names, so that
its published files of weights fit; each has a module with its ``preprocess_input`` and ``decode_predictions``.
"""

from tinyconv.applications import (
    imagenet_utils,
    inception_v3,
    mobilenet,
    mobilenet_v2,
    resnet,
    resnet50,
    vgg16,
    vgg19,
    xception,
)
from tinyconv.applications.alexnet import AlexNet
from tinyconv.applications.googlenet import GoogLeNet
from tinyconv.applications.inception_v3 import InceptionV3
from tinyconv.applications.lenet import LeNet
from tinyconv.applications.lenet5 import LeNet5
from tinyconv.applications.minivggnet import MiniVGGNet
from tinyconv.applications.mobilenet import MobileNet
from tinyconv.applications.mobilenet_v2 import MobileNetV2
from tinyconv.applications.resnet import ResNet18, ResNet34, ResNet50, ResNet101, ResNet152
from tinyconv.applications.senet import SEResNet50, SEResNet101, SEResNet152
from tinyconv.applications.shallownet import ShallowNet
from tinyconv.applications.squeezenet import SqueezeNet
from tinyconv.applications.vgg import VGG16, VGG19
from tinyconv.applications.xception import Xception

__all__ = [
    "VGG16", "VGG19", "AlexNet", "GoogLeNet", "InceptionV3", "LeNet", "LeNet5", "MiniVGGNet", "MobileNet",
    "MobileNetV2", "ResNet18", "ResNet34", "ResNet50", "ResNet101", "ResNet152", "SEResNet50", "SEResNet101",
    "SEResNet152", "ShallowNet", "SqueezeNet", "Xception", "imagenet_utils", "inception_v3", "mobilenet",
    "mobilenet_v2", "resnet", "resnet50", "vgg16", "vgg19", "xception",
]  # fmt: skip
