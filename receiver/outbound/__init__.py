"""Outgoing traffic: the HTTP client, the address guard, fetching audio, the audio storage."""
