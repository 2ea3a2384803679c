"""``python -m gradcheck demo``, ``show`` and ``run``: a first report, a kept one, and the check of a function by its name."""

import sys

from gradcheck.command import main

if __name__ == "__main__":
    sys.exit(main())
