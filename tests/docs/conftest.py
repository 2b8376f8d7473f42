import sys

from tests.conftest import ROOT

if str(ROOT / "docs") not in sys.path:
    sys.path.insert(0, str(ROOT / "docs"))
