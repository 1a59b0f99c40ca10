"""HTTP/1.1 for both listeners of `serve`: limited before anything of a request is trusted (docs/adr/0022)."""
