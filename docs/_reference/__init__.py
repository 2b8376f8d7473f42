"""Makes the pages of the reference from the code and the config files, when the documentation is built."""
