"""The operator's console: pages made by the server, of the API's operations (docs/adr/0104).

`application` is imported when the receiver is built, everything else at the first request.
"""
