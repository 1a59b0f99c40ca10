"""The routes of the console."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from receiver.web.api.context import ApiContext
from receiver.web.console.access import Access
from receiver.web.console.assets import Assets
from receiver.web.console.bulk import BULK_ACTIONS, accept, dry_run_page, operation_page, resume, stop
from receiver.web.console.edit import EditRoute, edit_event, edit_page
from receiver.web.console.events import event_audio, event_page, replay_event
from receiver.web.console.jobs import cancel, job_page
from receiver.web.console.lists import LISTS, export, list_page
from receiver.web.console.login import login_routes
from receiver.web.console.operations import Operations
from receiver.web.console.overview import overview
from receiver.web.console.pages import Console, Handler, PageRoute, base_of, on_http_error
from receiver.web.console.paths import PATH
from receiver.web.console.rendering import Renderer
from receiver.web.console.search import search
from receiver.web.console.sources import export_sources, sources_page
from receiver.web.console.speak import speak_page, submit_speech
from receiver.web.console.streams import events


def console(context: ApiContext) -> Starlette:
    """The console as an application; its paths begin with `/console`."""
    pages: dict[str, Handler] = {"/": overview, "/search": search, "/stream": events, "/sources": sources_page}
    for spec in LISTS:
        pages[f"/{spec.name}"] = list_page(spec)
        for form in ("csv", "json"):
            pages[f"/{spec.name}.{form}"] = export(spec, form)
    pages |= {f"/sources.{form}": export_sources(form) for form in ("csv", "json")}
    parts = Console(context, Access(context), Assets(), Renderer(), Operations(context), frozenset(pages))

    async def with_slash(request: Request) -> RedirectResponse:
        return RedirectResponse(base_of(request))

    app = Starlette(
        routes=[
            *(
                Route(PATH + action.path, PageRoute(parts, GET=dry_run_page(action), POST=accept(action)))
                for action in BULK_ACTIONS
            ),
            Route(f"{PATH}/operations/{{id}}", PageRoute(parts, GET=operation_page)),
            Route(f"{PATH}/operations/{{id}}/stop", PageRoute(parts, POST=stop)),
            Route(f"{PATH}/operations/{{id}}/resume", PageRoute(parts, POST=resume)),
            Route(f"{PATH}/events/{{id}}", PageRoute(parts, GET=event_page)),
            Route(f"{PATH}/events/{{id}}/audio", PageRoute(parts, GET=event_audio)),
            Route(f"{PATH}/events/{{id}}/edit", EditRoute(parts, GET=edit_page, POST=edit_event)),
            Route(f"{PATH}/speak", PageRoute(parts, GET=speak_page, POST=submit_speech)),
            Route(f"{PATH}/events/{{id}}/replay", PageRoute(parts, POST=replay_event)),
            Route(f"{PATH}/jobs/{{id}}", PageRoute(parts, GET=job_page)),
            Route(f"{PATH}/jobs/{{id}}/cancel", PageRoute(parts, POST=cancel)),
            *(Route(PATH + path.rstrip("/"), PageRoute(parts, GET=handler)) for path, handler in pages.items()),
            Route(f"{PATH}/", with_slash),
            parts.assets.route(PATH),
            *login_routes(parts),
        ],
        exception_handlers={HTTPException: on_http_error(parts)},
    )
    app.router.redirect_slashes = False
    return app
