"""`python -m src.doctor`: the command `strobe doctor`, from a checkout."""

import sys

from strobe.commands.doctor import main

if __name__ == "__main__":
    sys.exit(main())
