"""Every byte that leaves: the HTTP client, the address guard, the audio fetch, the object storage."""
