"""The command `speech`: its options, and what it prints. The work is done by `receiver.speech`."""
