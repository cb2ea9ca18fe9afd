"""Augmentation of (rows, channels, time) tensors: each effect draws its numbers, then applies them.

`draw` holds the shares and the random numbers, `melody` varies speed and plays leads, `voice` adds
takes, choirs and gaps, `produced` is what studios do to voices, `timbre` works on short-time
spectra, `rooms` adds reverb, echo and equalisers, `stereo` gives places, `master` levels.
"""
