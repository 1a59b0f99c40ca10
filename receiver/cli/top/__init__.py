"""The overview, live, in a terminal: `top`."""
