"""The benchmark suite: ``python -m benchmarks`` measures tinyconv beside PyTorch and OpenCV and prints one table."""
