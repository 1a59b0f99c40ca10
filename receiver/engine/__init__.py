"""What runs in the background: plugins, the dispatcher, the handlers' own loop, maintenance."""
