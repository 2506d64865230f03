"""With this folder on PYTHONPATH, Python behaves as if these packages were not installed.

The last step of `make test` uses it.
"""

import sys

HIDDEN = ("numba", "llvmlite", "cv2", "cupy", "h5py")

sys.modules.update(dict.fromkeys(HIDDEN))  # None in sys.modules: `import numba` raises ModuleNotFoundError
