"""The documentation as one HTML page, made from the OpenAPI document, with its own script and style only.

It contains no secret. The script sends the content of a form, with the token that the reader has entered.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2563eb; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { margin-top: 2.5rem; text-transform: capitalize; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; } pre { background: var(--soft); padding: .7rem; overflow: auto; }
code { background: var(--soft); border-radius: 4px; padding: .1em .3em; }
a { color: var(--accent); } nav li { list-style: none; } nav ul { padding: 0; }
section.operation { border: 1px solid var(--line); border-radius: 8px; padding: .2rem 1.2rem 1rem; margin: 1rem 0; }
.method { font-weight: 700; color: var(--accent); } .soft { opacity: .7; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .3rem .6rem;
border-bottom: 1px solid var(--line); overflow-wrap: anywhere; } td:nth-child(-n+2) { white-space: nowrap; }
form label { display: block; margin: .4rem 0; } input, textarea { font: 14px ui-monospace, monospace; width: 100%;
box-sizing: border-box; } form pre { max-height: 30rem; white-space: pre-wrap; overflow-wrap: anywhere; }
"""
SCRIPT = files(__package__).joinpath("page.js").read_text("utf-8")


def _csp_hash(text: str) -> str:
    """A text's hash, as a content security policy lists it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_csp_hash(STYLE)}; script-src {_csp_hash(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's content security policy: its own style and script and nothing else, whatever texts it contains."""

Document = dict[str, Any]


def page(document: Document) -> str:
    """The whole page."""
    info = document["info"]
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [
        f"<h1>{_text(info['title'])} <span class=soft>{_text(info['version'])}</span></h1>",
        f"<p>{_markup(info['summary'])} {_markup(info['description'])} ",
        'For programs: <a href="openapi.json">openapi.json</a>.</p>',
    ]
    if document.get("security"):
        parts.append(
            "<p>Every request needs <code>Authorization: Bearer …</code>, with one of <code>[api] tokens</code>.</p>"
            '<label>Token for the requests from this page, kept until it is closed: <input id="token" '
            'type="password" autocomplete="off" spellcheck="false"></label>'
        )
    parts.append("<nav><ul>")
    parts += [
        f'<li><a href="#{_text(operation["operationId"])}"><code>{method.upper()} {_text(path)}</code></a> '
        f"{_markup(operation['summary'])}</li>"
        for method, path, operation in operations
    ]
    parts.append("</ul></nav>")
    for tag in document["tags"]:
        parts.append(f"<h2>{_text(tag['name'])}</h2>")
        parts += [_operation(*item) for item in operations if tag["name"] in item[2]["tags"]]
    parts.append('<h2 id="schemas">Schemas</h2>')
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{_text(info["title"])}: API</title><style>{STYLE}</style></head>'
        f"<body>{''.join(parts)}<script>{SCRIPT}</script></body></html>"
    )


def _operation(method: str, path: str, operation: Document) -> str:
    parts = [
        f'<section class="operation" id="{_text(operation["operationId"])}">',
        f'<h3><span class="method">{method.upper()}</span> <code>{_text(path)}</code> ',
        f"{_text(operation['summary'])}</h3>",
        *(f"<p>{_markup(part)}</p>" for part in operation["description"].split("\n\n")),
    ]
    if operation.get("parameters"):
        rows = [
            (
                f"<code>{_text(of['name'])}</code>",
                f"{of['in']}{', required' if of['required'] else ''}",
                _type(of["schema"]),
                _markup(of.get("description", "")),
            )
            for of in operation["parameters"]
        ]
        parts.append("<h3>Parameters</h3>" + _table(rows))
    if "requestBody" in operation:
        (content,) = operation["requestBody"]["content"].values()
        needed = "required" if operation["requestBody"]["required"] else "optional"
        parts.append(f"<h3>Body</h3><p>JSON, {needed}: {_type(content['schema'])}</p>")
    responses = []
    for status, response in operation["responses"].items():
        of = " or ".join(
            _type(content["schema"]) if "schema" in content else f"<code>{_text(kind)}</code>"
            for kind, content in response.get("content", {}).items()
        )
        responses.append((f"<code>{_text(status)}</code>", of, _markup(response["description"])))
    parts.append("<h3>Responses</h3>" + _table(responses) + _form(method, path, operation) + "</section>")
    return "".join(parts)


def _form(method: str, path: str, operation: Document) -> str:
    """Fields for a request. They have no `name`, so that without the script they cannot get into a URL."""
    fields = [
        f"<label><code>{_text(of['name'])}</code>"
        f'<input data-in="{of["in"]}" data-name="{_text(of["name"])}"{" required" if of["required"] else ""}></label>'
        for of in operation.get("parameters", ())
    ]
    if "requestBody" in operation:
        fields.append('<label>Body (JSON)<textarea data-in="body" rows="5"></textarea></label>')
    return (
        f'<details><summary>Send a request</summary><form data-method="{method.upper()}" data-path="{_text(path)}">'
        f"{''.join(fields)}<button>Send</button><pre hidden></pre></form></details>"
    )


def _schema(name: str, schema: Document) -> str:
    needed = schema.get("required", ())
    rows = [
        (
            f"<code>{_text(field)}</code>",
            "" if field in needed else "optional",
            _type(of),
            _markup(of.get("description", "")),
        )
        for field, of in schema.get("properties", {}).items()
    ]
    inside = _table(rows) if rows else f"<p>{_type(schema)}</p>"
    return f'<h3 id="schema-{_text(name)}">{_text(name)}</h3><p>{_markup(schema.get("description", ""))}</p>{inside}'


def _type(schema: Document) -> str:
    """A type in a few words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{_text(name)}">{_text(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if "enum" in schema:
        return " ".join(f"<code>{_text(json.dumps(word))}</code>" for word in schema["enum"])
    kind = str(schema.get("type", "any JSON"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"),
            ("pattern", "like"), ("format", ""), ("default", "default"),
        )
        if schema.get(key) is not None
    ]  # fmt: skip
    return _text(" ".join([kind, *bounds]))


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    return f"<table>{''.join('<tr>' + ''.join(f'<td>{cell}</td>' for cell in row) + '</tr>' for row in rows)}</table>"


def _text(text: str) -> str:
    return html.escape(text)


def _markup(text: str) -> str:
    """A sentence as HTML, with the text in backquotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
