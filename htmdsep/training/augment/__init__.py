"""Augmentation of (batch, time) tensors in two steps: draw parameters, then apply them.

`draw_*` take a NumPy generator and return small tensors, by row where not every row is changed;
everything else is made of operations on whole batches, on the signal's device, that never wait
for it: no shape and no branch depends on a tensor's values.

`warp` melodies by time-varying resampling, `timbre` formants and equalisers, `rooms` reverb and
echo, `gaps` silences, `leads` synthetic solo instruments, `damage` codecs and clipping; `frames`
is the short-time spectrum that two of them stand on.
"""
