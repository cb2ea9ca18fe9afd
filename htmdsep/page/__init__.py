"""A page to listen on: the songs of an output folder, with their waveforms and stems to play."""
