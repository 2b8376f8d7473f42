"""What an exported file is made of: the module, its facts, its format, and what it is compared on."""
