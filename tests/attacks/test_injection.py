"""Texts that want to be something else: SQL, a path, a header, a line of the log; in every parameter there is."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

import pytest

from server.permissions import Role
from tests.attacks.arena import Arena

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.long]

ISSUES: Final = "/v1/workspaces/main/issues"
TEXTS: Final = {
    "SQL that ends a string": "x'; DROP TABLE issues; --",
    "SQL that is always true": "' OR '1'='1",
    "a parameter of SQL": "$1",
    "a pattern that matches all": "%",
    "a pattern that takes long": "_%" * 200 + "x",
    "a JSON path": '$.** ? (@ starts with "s")',
    "an operator of a document store": '{"$gt": ""}',
    "a text search of operators": "a & | ! ( <-> :*",
    "a path out of here": "../../../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "a NUL": "a\0b",
    "a line break": "a\r\nX-Evil: 1",
    "half a surrogate pair": "\\ud800",
    "a number out of range": "99999999999999999999",
    "a negative number": "-1",
    "not a number": "NaN",
    "a template": "{{7*7}}${7*7}",
    "10,000 letters": "x" * 10_000,
}


async def document_of(arena: Arena) -> dict[str, Any]:
    """What the server says there is."""
    _, answer = await arena.get("/v1/openapi.json")
    document: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return document


def is_sound(status: int, answer: bytes) -> bool:
    """It was answered or refused, and nothing leaked."""
    head, _, body = answer.partition(b"\r\n\r\n")
    leaks = (b"root:x:0", b"Traceback", b"syntax error", b"asyncpg", b"SELECT ")
    return 200 <= status < 500 and b"\r\nx-evil" not in head.lower() and not any(leak in body for leak in leaks)


@pytest.mark.parametrize("name", TEXTS)
async def test_in_every_parameter_of_every_operation(attacked: Arena, name: str) -> None:
    """From the server's own list, so an operation that is added is attacked as well."""
    text = quote(TEXTS[name], safe="")
    token = attacked.token(role=Role.ADMIN)
    tried = 0
    for path, methods in (await document_of(attacked))["paths"].items():
        for method, operation in methods.items():
            if method != "get":
                continue
            names = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
            places = [each["name"] for each in operation.get("parameters", []) if each["in"] == "path"]
            filled = path.replace("{workspace}", "main")
            for place in places:
                filled = filled.replace("{" + place + "}", text)
            for query in [f"?{parameter}={text}" for parameter in names] or [""]:
                status, answer = await attacked.get(filled + query, token=token)
                assert is_sound(status, answer), (path, query, status, answer[:300])
                tried += 1
    assert tried > 20
    assert (await attacked.get(ISSUES))[0] == 200  # the table is still there


@pytest.mark.parametrize("name", TEXTS)
async def test_in_what_is_written(attacked: Arena, name: str) -> None:
    """It is refused, or it is only text, and comes back as it was."""
    text = TEXTS[name]
    body = json.dumps({"title": text[:200], "description": text, "labels": [text[:60]]}).encode()
    status, answer = await attacked.get(ISSUES, method="POST", body=body, Content_Type="application/json")
    assert is_sound(status, answer), (status, answer[:300])
    if status == 201:
        made = json.loads(answer.partition(b"\r\n\r\n")[2])
        status, answer = await attacked.get(f"{ISSUES}/{made['id']}?min_seq={made['seq']}")
        assert status == 200
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["description"] == text


PATHS: Final = {
    "upwards": "/../../../../etc/passwd",
    "upwards, encoded": "/v1/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "upwards behind the reference": "/v1/docs/..%2f..%2f..%2fetc%2fpasswd",
    "two slashes": "//etc/passwd",
    "a backslash": "/v1/docs\\..\\..\\etc\\passwd",
    "a whole address": "http://127.0.0.1/etc/passwd",
    "with a NUL": "/v1/docs%00.html",
    "a semicolon": "/v1/docs;/../../etc/passwd",
}


@pytest.mark.parametrize("name", PATHS)
async def test_a_path_out_of_here(attacked: Arena, name: str) -> None:
    status, answer = await attacked.get(PATHS[name])
    assert status in (400, 404)
    assert b"root:" not in answer


async def test_an_address_of_another_host_is_not_fetched(attacked: Arena) -> None:
    for host in ("evil.example", "127.0.0.1:1", "x y", "a\tb"):
        status, answer = await attacked.get("/healthz", Host=host)
        assert status in (200, 400)
        assert b"evil" not in answer


HEADERS: Final = {
    "Origin": "http://evil.example",
    "X-Request-Id": "x\x1b[31mred",
    "X-Device-Id": "laptop\x1b]0;title\x07",
    "User-Agent": '","level":"error","event":"forged',
    "X-Forwarded-For": "10.0.0.1",
    "Authorization": "Bearer \x1b[2J",
    "If-None-Match": '"' + "x" * 900,
}


@pytest.mark.parametrize("header", HEADERS)
async def test_a_header_that_would_be_a_line_of_the_log(attacked: Arena, header: str) -> None:
    """Every line of the log is still one JSON object, without escapes for a terminal, and names no token."""
    token = attacked.token()
    sent = {"Host": "x", "Connection": "close", "Authorization": f"Bearer {token}", header: HEADERS[header]}
    lines = [f"GET {ISSUES}/{uuid4()}?forged=%0a%7b%22level%22:1%7d HTTP/1.1", *map(": ".join, sent.items()), "", ""]
    status, answer = await attacked.request("\r\n".join(lines).encode())
    assert status in (400, 401, 404, 422)
    assert b"\x1b" not in answer.partition(b"\r\n\r\n")[0]
    for line in attacked.server.last_words(1_000).splitlines():
        assert "\x1b" not in line
        assert token not in line
        if line.startswith("{"):
            assert json.loads(line).get("event") != "forged"


COMMANDS: Final = {
    "a key that is a path": ("token", "keys", "remove", "../../../etc/hostname"),
    "an import that is a path": ("import", "undo", "../../etc/passwd"),
    "an issue that is a path": ("purge", "--issue", "../../etc/passwd"),
    "a workspace that is a path": ("export", "--format", "json", "--workspace", "../../etc"),
    "a user that is SQL": ("member", "set", "x'; DROP TABLE users; --", "--role", "root"),
    "a device that breaks lines": ("device", "revoke", "eve", "a\r\nb"),
    "a file without end": ("import", "/dev/zero"),
    "a folder": ("import", "/etc"),
    "a folder to write to": ("export", "--format", "json", "--output", "/etc"),
    "a place that is none": ("export", "--format", "json", "--output", "/etc/passwd/../x"),
    "an account of what is no place": ("replay", "--until", "1", "--output", "/proc/self/nothing"),
    "keys in a file": ("token", "keys", "rotate", "--token-keys", "/etc/hostname"),
}


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_is_told_a_path(attacked: Arena, name: str) -> None:
    code, said = await attacked.server.command(*COMMANDS[name], deadline=40)
    assert code in (1, 2), said
    assert "Traceback" not in said
    assert "root:x" not in said


# In what is sent as a body: field by field, as the server's own description has them.


def good(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """A value a schema may allow."""
    if "$ref" in schema:
        return good(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return good(schema[choice][0], schemas)
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            return {name: good(fields[name], schemas) for name in fields}
        case "array":
            return [good(schema.get("items", {}), schemas)]
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return True
        case _:
            return str(uuid4()) if schema.get("format") == "uuid" else "x"


def places(value: Any) -> list[tuple[Any, ...]]:
    """The way to everything in a value that holds nothing."""
    if isinstance(value, dict) and value:
        return [(key, *rest) for key in value for rest in places(value[key])]
    if isinstance(value, list) and value:
        return [(0, *rest) for rest in places(value[0])]
    return [()]


def replaced(value: Any, way: tuple[Any, ...], text: Any) -> Any:
    """The same with something else there."""
    if not way:
        return text
    if isinstance(value, dict):
        return value | {way[0]: replaced(value[way[0]], way[1:], text)}
    return [replaced(value[0], way[1:], text)]


def with_bodies(document: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Method, path and a good body of all that take one as JSON."""
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:  # an upload is no JSON for us to take apart
                found.append((method, path, good(content["schema"], document["components"]["schemas"])))
    return found


def addressed(path: str, issue: str) -> str:
    """The path of what there is, or of nothing."""
    path = path.replace("{workspace}", "main").replace("{issue_id}", issue).replace("{issue}", issue)
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + str(uuid4()) + rest.partition("}")[2]
    return path


NO_TEXTS: Final = {
    "a number": 1e308,
    "a number without end": 10**400,
    "nothing": None,
    "an operator": {"$gt": ""},
    "a prototype": {"__proto__": {"role": "owner"}, "constructor": 1},
    "a thousand lists": [[]] * 1_000,
    "200 levels": json.loads("[" * 200 + "]" * 200),
}


@pytest.mark.parametrize("name", [*TEXTS, *NO_TEXTS])
async def test_in_every_field_of_every_body(attacked: Arena, name: str) -> None:
    """Whatever an operation takes, each of its fields is attacked, those that are added later too."""
    token = attacked.token(role=Role.ADMIN)
    answer = (await attacked.get(ISSUES, method="POST", body=b'{"title": "x"}', token=token))[1]
    issue = json.loads(answer.partition(b"\r\n\r\n")[2])["id"]
    tried, text = 0, TEXTS.get(name, NO_TEXTS.get(name))
    for method, path, body in with_bodies(await document_of(attacked)):
        for way in places(body):
            sent = json.dumps(replaced(body, way, text)).replace('"\\\\ud800"', '"\\ud800"').encode()
            status, answer = await attacked.get(
                addressed(path, issue), method=method.upper(), token=token, body=sent, Content_Type="application/json"
            )
            assert is_sound(status, answer), (method, path, way, status, answer[-300:])
            tried += 1
    assert tried > 40


BODIES: Final = {
    "nothing": b"",
    "no JSON": b"{",
    "two values": b"{} {}",
    "a key twice": b'{"title": "a", "title": {"$gt": 1}}',
    "no UTF-8": b'{"title": "\xff"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "NaN": b'{"title": NaN}',
    "a list": b"[" * 500 + b"]" * 500,
    "a text": b'"x"',
    "null": b"null",
    "a million digits": b'{"limit": ' + b"9" * 2**20 + b"}",
    "many keys": b"{" + b",".join(b'"k%d": 1' % at for at in range(20_000)) + b"}",
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_none_of_any_operation(attacked: Arena, name: str) -> None:
    token = attacked.token(role=Role.ADMIN)
    for method, path, _ in with_bodies(await document_of(attacked)):
        status, answer = await attacked.get(
            addressed(path, str(uuid4())), method=method.upper(), token=token, body=BODIES[name]
        )
        was_cut = status == 0 and len(BODIES[name]) > 2**16  # while we were still at it
        assert was_cut or is_sound(status, answer), (method, path, status, answer[-300:])


INFLATED: Final = ("gzip", "deflate", "br", "zstd", "gzip, gzip")


@pytest.mark.parametrize("coding", INFLATED)
async def test_no_operation_inflates_what_it_is_sent(attacked: Arena, coding: str) -> None:
    """Not as a body, and not as an upload."""
    bomb = await asyncio.to_thread(gzip.compress, bytes(2**26))  # meanwhile the honest people answer pings
    before = attacked.resident_bytes()
    token = attacked.token(role=Role.ADMIN)
    for path, methods in (await document_of(attacked))["paths"].items():
        for method, operation in methods.items():
            for media in operation.get("requestBody", {}).get("content", {}):
                status, answer = await attacked.get(
                    addressed(path, str(uuid4())),
                    method=method.upper(),
                    token=token,
                    body=bomb,
                    Content_Type=media,
                    Content_Encoding=coding,
                )
                was_cut = status == 0  # while we were still at it
                assert was_cut or 400 <= status < 500, (method, path, media, status, answer[-300:])
    assert attacked.resident_bytes() - before < 48 << 20
