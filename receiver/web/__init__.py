"""The listeners: the intake on the public one; health, metrics and the API on the private one."""
