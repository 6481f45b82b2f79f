"""For all tests: property-based ones draw the same examples each time, so that a red run is a change's fault.

`STREAMD_SEARCH=1 pytest tests/unit` looks for new ones, and `STREAMD_SEARCH=10 tests/run pytest trixie
tests/appliance/test_story.py` for ten minutes on the appliance. Time limits of single examples would only measure the
machine.
"""

from __future__ import annotations

import os

try:
    from hypothesis import settings
except ModuleNotFoundError:
    pass  # the tests that need it say so
else:
    settings.register_profile("steady", derandomize=True, deadline=None)
    settings.register_profile("search", deadline=None)
    settings.load_profile("search" if os.environ.get("STREAMD_SEARCH") else "steady")
