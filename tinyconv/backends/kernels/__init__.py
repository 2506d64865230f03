"""Compiled kernels of the CPU backend (see ``launch`` for what a kernel is). Importing a module here imports Numba."""
