"""What Keras has in ``keras.utils``, under that name."""

from tinyconv.datasets import to_categorical
from tinyconv.preprocessing import array_to_img, image_dataset_from_directory, img_to_array, load_img, save_img
from tinyconv.viz import plot_model

__all__ = [
    "array_to_img", "image_dataset_from_directory", "img_to_array", "load_img", "plot_model", "save_img",
    "to_categorical",
]  # fmt: skip
