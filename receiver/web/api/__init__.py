"""The private API: an application submits speech, watches jobs, and reads events and audio.

The table of operations (`routes.ROUTES`) gives the routes, the validation of requests, and the OpenAPI document. The
models are built at the first request, so that the receiver starts fast.
"""
