"""What the receiver reports while it works: the hooks, and those that use them: metrics, the log, and the rollups."""
