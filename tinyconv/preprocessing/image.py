"""What Keras 2 has in ``keras.preprocessing.image``."""

from tinyconv.preprocessing.affine import apply_affine_transform, apply_brightness_shift, apply_channel_shift
from tinyconv.preprocessing.dataset import ImageDataset, image_dataset_from_directory
from tinyconv.preprocessing.file_iterators import DataFrameIterator, DirectoryIterator
from tinyconv.preprocessing.files import array_to_img, img_to_array, load_img, save_img
from tinyconv.preprocessing.generator import ImageDataGenerator
from tinyconv.preprocessing.iterators import ImageIterator, NumpyArrayIterator

Iterator = ImageIterator  # Keras's name

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "ImageDataset",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "image_dataset_from_directory",
    "img_to_array",
    "load_img",
    "save_img",
]
