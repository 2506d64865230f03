"""VGG19 and what goes with it, under Keras's names."""

from tinyconv.applications.imagenet_utils import decode_predictions
from tinyconv.applications.imagenet_utils import preprocess_caffe as preprocess_input
from tinyconv.applications.vgg import VGG19

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]
