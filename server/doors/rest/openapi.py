"""The OpenAPI 3.1 document, made from the registry and the models that validate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from server.doors.rest.headers import REQUEST_ID, Header
from server.doors.rest.operations import JSON, Answer, Operation, Served
from server.doors.rest.problems import PROBLEM_TYPE, ProblemDocument, ProblemType

Schemas = Mapping[Any, Mapping[str, Any]]  # (model, mode) → its schema
AnyOperation = Operation[Any, Any, Any]

_REFERENCE: Final = "#/components/schemas/{model}"
_ABOUT: Final = "Issues as records. A write is an edit of the issue's document, merged with what others type meanwhile."
_SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `syncline token`."},
    "query": {"type": "apiKey", "in": "query", "name": "token", "description": "For those who cannot send headers."},
}


def document(served: Iterable[Served]) -> dict[str, Any]:
    """The whole document, as JSON has it."""
    operations = [one.operation for one in served]
    schemas, definitions = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Syncline", "version": version("syncline"), "description": _ABOUT},
        "paths": paths,
        "components": {"schemas": definitions, "securitySchemes": _SECURITY},
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
    }


def _schemas(operations: Sequence[AnyOperation]) -> tuple[Schemas, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ProblemDocument, "serialization"): None}
    for operation in operations:
        if operation.takes_body:
            wanted[operation.body, "validation"] = None
        for answer in operation.answers.values():
            if answer.model is not None:
                wanted[answer.model, "serialization"] = None
    schemas, rest = models_json_schema(list(wanted), ref_template=_REFERENCE)
    return schemas, rest.get("$defs", {})


def _operation(operation: AnyOperation, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_headers(operation)],
        "responses": _responses(operation, schemas),
        "security": [] if operation.needs is None and not operation.reads_token else [{name: []} for name in _SECURITY],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.needs is not None:
        described["x-permission"] = operation.needs.__name__
    if operation.takes_body:
        schema = schemas[operation.body, "validation"]
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
        if operation.max_body_bytes is not None:
            described["requestBody"]["description"] = f"At most {operation.max_body_bytes} bytes."
    elif operation.uploads:
        described["requestBody"] = {"required": True, "content": {media: {} for media in operation.uploads}}
    return described


def _path_parameters(operation: AnyOperation) -> list[dict[str, Any]]:
    properties = operation.place.model_json_schema()["properties"] if operation.place.model_fields else {}
    return [{"name": name, "in": "path", "required": True, "schema": properties[name]} for name in properties]


def _query_parameters(operation: AnyOperation) -> list[dict[str, Any]]:
    schema = operation.query.model_json_schema(ref_template=_REFERENCE)
    required = schema.get("required", [])
    parameters = []
    for name, described in schema.get("properties", {}).items():
        if name == "token":
            continue  # a security scheme
        plain = _without_null(_inlined(described, schema.get("$defs", {})))
        if operation.max_page is not None and name == "limit":
            plain |= {bound: min(plain[bound], operation.max_page) for bound in ("maximum", "default")}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": plain}
        if "description" in described:
            parameter["description"] = described["description"]
        parameters.append(parameter)
    return parameters


def _inlined(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """What a parameter refers to (an enumeration) in its own place: the document's schemas are those of bodies."""
    whole = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        named = definitions[schema["$ref"].rsplit("/", 1)[1]]
        whole = {key: value for key, value in named.items() if key not in ("title", "description")} | whole
    if "anyOf" in schema:
        whole["anyOf"] = [_inlined(choice, definitions) for choice in schema["anyOf"]]
    return whole


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query cannot say null: a parameter that may be None may be left out."""
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default", "title", "description")}
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        kept |= choices[0]
    elif choices:
        kept["anyOf"] = choices
    if schema.get("default") is not None:
        kept["default"] = schema["default"]
    return kept


def _headers(operation: AnyOperation) -> list[dict[str, Any]]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": False,
            "description": header.description,
            "schema": dict(header.schema) if header is REQUEST_ID else {**header.schema, "maxLength": header.max_chars},
        }
        for header in (REQUEST_ID, *operation.headers)
    ]


def _responses(operation: AnyOperation, schemas: Schemas) -> dict[str, Any]:
    responses = {str(int(status)): _answer(answer, schemas) for status, answer in operation.answers.items()}
    by_status = sorted(operation.every_problem(), key=lambda kind: kind.status)
    for status, kinds in groupby(by_status, key=lambda kind: kind.status):
        responses[str(int(status))] = _problem(status, list(kinds))
    return responses


def _answer(answer: Answer, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description, "headers": _told(answer.headers)}
    if answer.model is not None:
        described["content"] = {JSON: {"schema": schemas[answer.model, "serialization"]}}
    elif answer.media:
        described["content"] = {media: {} for media in answer.media}
    return described


def _problem(status: HTTPStatus, kinds: Sequence[ProblemType]) -> dict[str, Any]:
    types = {"properties": {"type": {"enum": [kind.uri for kind in kinds]}, "status": {"const": int(status)}}}
    schema = {"allOf": [{"$ref": _REFERENCE.format(model=ProblemDocument.__name__)}, types]}
    return {
        "description": "\n".join(f"- `{kind.slug}`: {kind.when}" for kind in kinds),
        "headers": _told(()),
        "content": {PROBLEM_TYPE: {"schema": schema}},
    }


def _told(headers: Iterable[Header]) -> dict[str, Any]:
    return {
        header.name: {"description": header.description, "schema": dict(header.schema)}
        for header in (REQUEST_ID, *headers)
    }
