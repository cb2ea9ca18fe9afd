"""Everything that turns a folder of music into weights."""
