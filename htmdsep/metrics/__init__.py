"""How good an estimate is: ratios, silence, and the bounds of what can be reached."""
