"""Circles, squares and triangles, to be found in noise pixel by pixel."""
