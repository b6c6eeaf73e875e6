"""The optimiser of the default configuration at full pace."""

RATE = 1e-3
BETA1 = 0.9
BETA2 = 0.99
EPSILON = 1e-8
DECAY = 1e-4
CLIP = 5.0
EMA = 0.98
