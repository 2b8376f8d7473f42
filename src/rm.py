"""`python -m src.rm`: the command `strobe rm`, from a checkout."""

import sys

from strobe.commands.rm import main

if __name__ == "__main__":
    sys.exit(main())
