"""Settings that all tests share: the hypothesis profile. TINYCONV_HYPOTHESIS_EXAMPLES=500 searches longer."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "tinyconv",
    max_examples=int(os.environ.get("TINYCONV_HYPOTHESIS_EXAMPLES", "25")),
    derandomize=True,  # the same examples in every run and on every machine
    database=None,
    deadline=None,  # the first example may compile a kernel
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tinyconv")

collect_ignore = ["hidden"]  # its sitecustomize hides packages from the process that imports it
