"""Streams of blocks: cut, join, resample, transform, quantise, meter."""
