"""`python -m src.new`: the command `strobe new`, from a checkout."""

import sys

from strobe.commands.new import main

if __name__ == "__main__":
    sys.exit(main())
