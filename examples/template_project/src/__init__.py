"""Spirals: a project in the shape that the usual template for Lightning and Hydra gives."""
