"""`forward-test`: a small application that verifies and prints what the handler `forward` sends."""
