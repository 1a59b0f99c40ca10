"""What listens: the intake in public, health and metrics in private."""
