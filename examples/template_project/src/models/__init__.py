"""What is learned from the points."""
