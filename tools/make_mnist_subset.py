"""Make the MNIST subset that ships with tinyconv: the first digits of the real files, in their order.

Usage: python tools/make_mnist_subset.py   (takes MNIST from the cache, or downloads it)
"""

from tinyconv.datasets import mnist
from tinyconv.datasets.idx import write_idx


def main() -> None:
    train, test = mnist.SUBSET_SIZES
    (x_train, y_train), (x_test, y_test) = mnist.load_data("full")
    parts = (x_train[:train], y_train[:train], x_test[:test], y_test[:test])
    for file, part in zip(mnist.FILES.files, parts, strict=True):
        path = mnist.SUBSET_FOLDER / f"{file.name}.gz"
        write_idx(path, part)
        print(f"{path}: {part.shape}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
