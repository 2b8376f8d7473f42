"""What a run leaves behind: the only code that reads or writes a run directory."""
