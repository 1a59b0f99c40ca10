"""The one place where settings become objects: plain functions that build each part once, in dependency order.

`serve`, the mounted application and `speech` all get their parts here. A module for each of them and for what they
share, so that a command that only looks into the store loads nothing else.
"""
