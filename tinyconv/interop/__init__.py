"""Foreign file formats: those of Keras 1, 2 and 3, read and written through h5py (``pip install h5py``).

Mostly, nothing here needs to be called: ``load_model``, ``Model.save``, ``Model.load_weights`` and
``Model.save_weights`` know these formats. Files are data: no Python code in them is run, no link in them is followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinyconv.layers import Layer
    from tinyconv.models import Model

__all__ = ["from_keras_config", "load_keras", "to_keras_config"]


def load_keras(path: Any, custom_objects: dict[str, Any] | None = None, compile: bool = True) -> Model:
    """The model in a file of Keras: architecture, weights, and compile arguments where tinyconv knows them.

    Parameters
    ----------
    path : str or Path
        A ``.keras`` file (Keras 3), or a whole model as ``.h5``, ``.hdf5`` (Keras 2 and 3).
    custom_objects : dict of str to class or function, optional
        Own classes by name.
    compile : bool
        Whether to compile the model as it was compiled. Keras 3's optimizers go on where they stood; those of Keras 2
        begin afresh, with a warning.

    Raises
    ------
    ValueError
        For damaged files, for layers and arguments that tinyconv does not have, and for ``Lambda`` layers.
    ImportError
        When h5py is missing.
    """
    from tinyconv.saving import load_model

    return load_model(path, custom_objects, compile)


def to_keras_config(layer: Layer) -> dict[str, Any]:
    """A layer or model as Keras 3 describes it in JSON.

    Examples
    --------
    >>> import tinyconv as tc
    >>> from tinyconv.interop import from_keras_config, to_keras_config
    >>> model = tc.Sequential([tc.layers.Dense(2, input_shape=(3,))])
    >>> description = to_keras_config(model)
    >>> [entry["class_name"] for entry in description["config"]["layers"]]
    ['InputLayer', 'Dense']
    >>> from_keras_config(description).output_shape
    (None, 2)
    """
    from tinyconv.interop.keras_config import to_keras

    return to_keras(layer)


def from_keras_config(config: dict[str, Any]) -> Layer:
    """The layer or model that Keras (2 or 3) describes, with fresh weights."""
    from tinyconv.interop.keras_config import from_keras

    return from_keras(config)
