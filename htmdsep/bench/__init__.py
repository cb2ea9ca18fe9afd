"""Measure how fast the network and the whole program run on this machine."""
