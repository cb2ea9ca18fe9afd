"""Run a network, and choose how."""
