"""``python -m avbench`` is ``avbench``."""

import sys

from avbench.cli import main

sys.exit(main())
