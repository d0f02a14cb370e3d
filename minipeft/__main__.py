"""`python -m minipeft` is `minipeft`."""

import sys

from .cli import main

sys.exit(main())
