"""The pure core, without I/O, clocks and randomness: times and random numbers are arguments."""
