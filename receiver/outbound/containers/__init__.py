"""Readers of audio containers, bounded in bytes, steps and time: duration, sample rate, channels."""
