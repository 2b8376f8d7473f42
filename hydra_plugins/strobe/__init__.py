"""Strobe's launcher and sweepers, where Hydra looks for them; the work is done in `strobe.commands.sweep`."""
