"""`python -m strobe <command>`: see `strobe.cli`."""

import sys

from strobe.cli import main

if __name__ == "__main__":
    sys.exit(main())
