"""Configs and PyTorch definitions of the networks."""
