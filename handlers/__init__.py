"""The built-in handlers. They import the receiver's face and nothing else of it."""
