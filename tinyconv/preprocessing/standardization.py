"""Statistics of images, and images without them: centring, scaling and whitening, as ``ImageDataGenerator`` does it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyconv.preprocessing.random_transforms import RandomTransforms, random_state

_TINY = 1e-6  # added to standard deviations, as Keras does


class Standardization(RandomTransforms):
    """``fit``, which looks at the data set, and ``standardize``, which every image of a batch goes through."""

    featurewise_center: bool
    featurewise_std_normalization: bool
    samplewise_center: bool
    samplewise_std_normalization: bool
    zca_whitening: bool
    zca_epsilon: float
    rescale: float | None
    preprocessing_function: Callable[[np.ndarray], Any] | None
    validation_split: float  # not used here: iterators divide by it
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    zca_whitening_matrix: np.ndarray | None = None

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Compute the statistics that feature-wise normalisation and whitening need; other settings need no ``fit``.

        Parameters
        ----------
        x : array_like, shape (N, H, W, C) or (N, C, H, W)
            Images before ``preprocessing_function`` and ``rescale``, which are applied first.
        augment : bool
            Whether to transform the images at random, ``rounds`` times, and take the statistics of the results.
        seed : int, optional
            Of these transformations.
        """
        x = np.asarray(x)
        if x.ndim != 4 or not len(x):
            raise ValueError(f"Expected images of shape (N, {self._layout}), N >= 1. Received: shape {x.shape}")
        if not (self.featurewise_center or self.featurewise_std_normalization or self.zca_whitening):
            return
        if augment:
            draw = random_state(seed)
            x = np.stack([self._transform(image, draw) for _ in range(rounds) for image in x])
        data = self._prepare(np.array(x, self.dtype))
        axes = (0, self.row_axis, self.row_axis + 1)
        mean = data.mean(axis=axes, keepdims=True, dtype=np.float64)
        self.mean = mean[0].astype(self.dtype)
        if self.featurewise_std_normalization:
            parts = (data[first : first + 256] - mean for first in range(0, len(data), 256))  # little memory
            squares = sum((part**2).sum(axis=axes, keepdims=True)[0] for part in parts)
            self.std = np.sqrt(squares * mean.size / data.size).astype(self.dtype)
        if self.zca_whitening:
            flat = (data - mean).reshape(len(data), -1)  # (N, pixels)
            u, s, _ = np.linalg.svd(flat.T, full_matrices=False)
            scaled = u * (np.sqrt(len(flat)) / (s + self.zca_epsilon))
            self.zca_whitening_matrix = (scaled @ u.T).astype(self.dtype)

    def standardize(self, x: Any) -> np.ndarray:
        """Preprocess, rescale and normalise an image, or a batch of them.

        Parameters
        ----------
        x : array_like of 3 or 4 axes

        Returns
        -------
        ndarray
            A new array of the generator's dtype, unlike Keras's, which works in place.
        """
        return self._standardize(np.array(x, self.dtype))

    def _prepare(self, x: np.ndarray) -> np.ndarray:
        """``preprocessing_function`` and ``rescale``, in place."""
        if self.preprocessing_function is not None:
            for image in x if x.ndim == 4 else x[None]:
                done = np.asarray(self.preprocessing_function(image))
                if done.shape != image.shape:
                    raise ValueError(
                        f"preprocessing_function must keep the shape {image.shape}. Received: shape {done.shape}"
                    )
                image[...] = done
        if self.rescale is not None:
            x *= self.rescale
        return x

    def _standardize(self, x: np.ndarray) -> np.ndarray:
        """``standardize``, in place where possible."""
        x = self._prepare(x)
        each = (-3, -2, -1)
        if self.samplewise_center:
            x -= x.mean(axis=each, keepdims=True)
        if self.samplewise_std_normalization:
            x /= x.std(axis=each, keepdims=True) + _TINY
        if self.featurewise_center and self._is_fitted("featurewise_center", self.mean):
            x -= self.mean
        if self.featurewise_std_normalization and self._is_fitted("featurewise_std_normalization", self.std):
            x /= self.std + _TINY  # type: ignore[operator]
        if self.zca_whitening and self._is_fitted("zca_whitening", self.zca_whitening_matrix):
            flat = x.reshape(-1, np.prod(x.shape[-3:]))  # (N, pixels)
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)  # type: ignore[operator]
        return x

    def _is_fitted(self, setting: str, statistic: Any) -> bool:
        if statistic is None:
            warnings.warn(f"{setting} does nothing before fit() has seen the data", stacklevel=2)
        return statistic is not None
