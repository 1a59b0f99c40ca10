"""What listens: the intake in public, health, metrics and the API in private."""
