"""`python -m src.completion`: the command `strobe completion`, from a checkout."""

import sys

from strobe.commands.completion import main

if __name__ == "__main__":
    sys.exit(main())
