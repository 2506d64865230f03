"""Classic image filtering: correlation with OpenCV's semantics, and the kernels that every course shows."""

from tinyconv.vision.filtering import convolve, filter2d, kernel_bank

__all__ = ["convolve", "filter2d", "kernel_bank"]
