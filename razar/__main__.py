"""``python -m razar`` is the ``razar`` command."""

from __future__ import annotations

import sys

from razar.cli import main

sys.exit(main())
