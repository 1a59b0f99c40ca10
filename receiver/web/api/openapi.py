"""The OpenAPI 3.1 document, made from the table of operations and the models that validate requests."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from receiver.web.api import command_models, problems, setup_models
from receiver.web.api.models import Problem
from receiver.web.api.operations import Operation

REF = "#/components/schemas/{model}"
PARAMETER_LOCATIONS = {"path": "path", "query": "query", "headers": "header"}

Document = dict[str, Any]


def document(table: Sequence[Operation], *, tokens: bool, root_path: str = "") -> Document:
    """The document.

    Args:
        tokens: whether the listener requires tokens.
        root_path: the prefix of every path, as clients see it.
    """
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (model, "serialization") for model in (Problem, *setup_models.OF_COMMANDS, *command_models.OF_COMMANDS)
    ]
    for operation in table:
        models += [(response.model, "serialization") for response in operation.responses.values() if response.model]
        if "body" in operation.inputs:
            models.append((operation.inputs["body"], "validation"))
    _, schemas = models_json_schema(list(dict.fromkeys(models)), ref_template=REF)
    paths: Document = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, tokens=tokens)
    found: Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "tts-receiver",
            "version": _version(),
            "summary": "Speech jobs, their events and their audio.",
            "description": "The private API: for the application beside the receiver.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in table)],
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }
    if root_path:
        found["servers"] = [{"url": root_path}]
    if tokens:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _operation(operation: Operation, *, tokens: bool) -> Document:
    operation_object: Document = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.tag],
    }
    parameters = [
        parameter
        for kind, location in PARAMETER_LOCATIONS.items()
        if kind in operation.inputs
        for parameter in _parameters(operation.inputs[kind], location)
    ]
    if parameters:
        operation_object["parameters"] = parameters
    if "body" in operation.inputs:
        schema = {"$ref": REF.format(model=operation.inputs["body"].__name__)}
        operation_object["requestBody"] = {
            "required": operation.body_required,
            "content": {"application/json": {"schema": schema}},
        }
    responses: Document = {}
    for status, response in operation.responses.items():
        responses[str(status)] = described = {"description": response.description}
        content: Document = {}
        if response.model is not None:
            content["application/json"] = {"schema": {"$ref": REF.format(model=response.model.__name__)}}
        if response.media_type is not None:
            content[response.media_type] = {}
        if content:
            described["content"] = content  # type: ignore[assignment]
        if response.headers:
            described["headers"] = {  # type: ignore[assignment]
                name: {"description": description, "schema": {"type": "string"}}
                for name, description in response.headers.items()
            }
    for status, description in operation.problems(tokens=tokens).items():
        schema = {"$ref": REF.format(model="Problem")}
        responses[str(status)] = {"description": description, "content": {problems.MEDIA_TYPE: {"schema": schema}}}
    operation_object["responses"] = dict(sorted(responses.items()))
    return operation_object


def _parameters(model: type[BaseModel], location: str) -> list[Document]:
    schema = model.model_json_schema(ref_template=REF, mode="validation")
    defined = schema.pop("$defs", {})
    found = []
    for name, declared in schema["properties"].items():
        of = _inlined(declared, defined)
        of.pop("title", None)
        described = {"description": of.pop("description")} if "description" in of else {}
        required = location == "path" or name in schema.get("required", ())
        found.append(
            {
                "name": name,
                "in": location,
                "required": required,
                **described,
                "schema": _text_without_nul(_without_null(of), location),
            }
        )
    return found


def _inlined(schema: Document, defined: Document) -> Document:
    """The schema with its references replaced by their definitions: parameters are few and small."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return {**defined[schema["$ref"].rpartition("/")[2]], **{k: v for k, v in schema.items() if k != "$ref"}}
        return {name: _inlined(value, defined) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(item, defined) for item in schema]
    return schema


def _without_null(schema: Document) -> Document:
    """The schema without null: a query has no null, a parameter is just absent."""
    some = [item for item in schema.get("anyOf", ()) if item.get("type") != "null"]
    if "anyOf" not in schema or len(some) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf" and value is not None}
    return {**some[0], **rest}


def _text_without_nul(schema: Document, location: str) -> Document:
    """The schema of a text in a query, which must not contain NUL (`binding`)."""
    if location != "query" or schema.get("type") != "string" or schema.keys() & {"enum", "const", "format", "pattern"}:
        return schema
    return {**schema, "pattern": "^[^\\u0000]*$"}


@cache
def _version() -> str:
    return version("tts-receiver")
