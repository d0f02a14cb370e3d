"""`python -m minipeft` is `minipeft`."""

import sys

from .app.cli import main

sys.exit(main())
