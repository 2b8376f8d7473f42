"""`python -m src.export`: the command `strobe export`, from a checkout."""

import sys

from strobe.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
