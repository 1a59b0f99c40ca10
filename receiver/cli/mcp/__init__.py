"""`mcp`: tools of the Model Context Protocol, over the API of a running receiver (docs/adr/0113)."""
