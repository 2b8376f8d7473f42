"""`python -m strobe <command>`: see `strobe.cli`."""

from strobe.cli import script

if __name__ == "__main__":
    script()
