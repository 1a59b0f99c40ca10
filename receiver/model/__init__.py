"""The pure core: no I/O, no clock, no randomness of its own. Times and random numbers are arguments."""
