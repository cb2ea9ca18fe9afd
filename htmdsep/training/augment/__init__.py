"""Vectorised augmentation of (batch, time) tensors, every parameter drawn from a given generator.

`warp` melodies by time-varying resampling, `timbre` formants and equalisers, `rooms` reverb and
echo, `gaps` silences, `leads` synthetic solo instruments, `damage` codecs and clipping.
"""
