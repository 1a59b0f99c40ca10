"""The private API: an application's own way to submit speech, watch jobs, and get at events and audio.

One table of operations (`routes.ROUTES`) makes the routes, the checks of what comes in, and the OpenAPI document.
Light at the start: the models are built when the first request comes.
"""
