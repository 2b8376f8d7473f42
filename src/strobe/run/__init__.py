"""One run: built, trained, tested, written down, read back."""
