"""From image files to batches: reading, resizing, augmentation, data sets that are read in threads as they are used.

``image`` has what Keras 2 has under this name; beside it are the textbooks' preprocessors, their loader and what they
take from ``imutils``, and :func:`prefetch` for batches of any kind.
"""

from tinyconv.preprocessing import image
from tinyconv.preprocessing.image import (
    ImageDataGenerator,
    ImageDataset,
    array_to_img,
    image_dataset_from_directory,
    img_to_array,
    load_img,
    save_img,
)
from tinyconv.preprocessing.prefetching import prefetch
from tinyconv.preprocessing.preprocessors import (
    AspectAwarePreprocessor,
    ImageToArrayPreprocessor,
    SimpleDatasetLoader,
    SimplePreprocessor,
    preprocess,
)
from tinyconv.preprocessing.tools import (
    grab_contours,
    is_cv2,
    list_images,
    rescale_intensity,
    resize,
    sort_contours,
)

__all__ = [
    "AspectAwarePreprocessor",
    "ImageDataGenerator",
    "ImageDataset",
    "ImageToArrayPreprocessor",
    "SimpleDatasetLoader",
    "SimplePreprocessor",
    "array_to_img",
    "grab_contours",
    "image",
    "image_dataset_from_directory",
    "img_to_array",
    "is_cv2",
    "list_images",
    "load_img",
    "prefetch",
    "preprocess",
    "rescale_intensity",
    "resize",
    "save_img",
    "sort_contours",
]
