"""`tts-receiver listen`: hands the events of a receiver to a local address, in order, without missing any.

The loop is in `session`, what survives a kill in `state`; `stream` and `gap` are pure.
"""
