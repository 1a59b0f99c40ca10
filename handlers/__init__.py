"""The built-in handlers. They import only the receiver's public API."""
