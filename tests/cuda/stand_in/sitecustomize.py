"""With this folder on PYTHONPATH, a process has the strict stand-in as its GPU."""

from tests.cuda.strict import StrictBackend
from tinyconv import backends

backends._tables["cuda"] = StrictBackend()
