"""``python -m spikewright`` is the command line."""

import sys

from spikewright.app.cli import main

sys.exit(main())
