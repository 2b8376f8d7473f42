"""A language model of characters: a text, a net, and what is learned of it."""
