"""``python -m tinyconv``: the command line (see ``tinyconv.cli``)."""

import sys

from tinyconv.cli import main

if __name__ == "__main__":
    sys.exit(main())
