"""HTTP/1.1 for both listeners of `serve`: with limits that apply before a request is trusted (docs/adr/0022)."""
