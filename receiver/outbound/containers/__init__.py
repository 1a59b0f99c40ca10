"""Audio containers read from outside, in bounded bytes, steps and time: how long, at what rate, how many channels."""
