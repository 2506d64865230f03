"""The CUDA backend: the table of primitives on CuPy arrays (``table``), and kernels behind a door (``launch``)."""

from tinyconv.backends.cuda.memory import explain_shortage
from tinyconv.backends.cuda.table import CudaBackend

__all__ = ["CudaBackend"]

explain_shortage(CudaBackend)
