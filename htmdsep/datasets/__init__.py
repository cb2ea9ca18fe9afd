"""Folders of songs with stems, and their samples."""
