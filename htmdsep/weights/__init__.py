"""Weights files and their graphs: find, read, write, import."""
