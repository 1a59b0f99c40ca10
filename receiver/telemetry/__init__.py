"""What the receiver reports while it works: the hooks, and the two that use them, metrics and the log."""
