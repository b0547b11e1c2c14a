"""A plain ASGI application behind OpenTelemetry's middleware, as the integration tests drive it."""

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from otel_usage import identify, record_access


async def plain(scope, receive, send):
    if scope["type"] == "websocket":
        await echo(receive, send)
    elif scope["type"] == "http":
        await respond(scope, receive, send)


async def respond(scope, receive, send):
    headers = dict(scope["headers"])
    if headers.get(b"authorization", b"").startswith(b"Bearer tok"):
        scope["user"] = {"id": "alice"}
    status, extra, chunks = await answer(scope, headers, receive)
    await send({"type": "http.response.start", "status": status, "headers": extra})
    for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def answer(scope, headers, receive):
    method, path = scope["method"], scope["path"]
    if path == "/boom":
        raise RuntimeError("boom on purpose")
    if path.endswith("/404") or path.startswith("/nowhere"):
        return 404, [], [b"no"]
    if path == "/datasets" and method == "POST":
        return 201, [], [b'{"bytes": %d}' % len(await read(receive))]
    if path.endswith("/download"):
        count = int(scope["query_string"].removeprefix(b"chunks=") or 5)
        return 200, [(b"content-disposition", b"attachment; filename=a.csv")], (b"x" * 1000 for _ in range(count))
    if path.startswith("/files/") and headers.get(b"if-none-match") == b'"1"':
        return 304, [(b"etag", b'"1"')], []
    if path.startswith("/private/"):
        return 401, [], [b"who?"]
    if path == "/said":
        identify(user_id="u-7", user_name="Grace", token_name="nightly export")
        record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
        record_access("report", "r-2")
    return 200, [(b"content-length", b"7")], [] if method == "HEAD" else [b"content"]


async def read(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def echo(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    await send({"type": "websocket.send", "text": message["text"] * 2})
    await send({"type": "websocket.close"})


app = OpenTelemetryMiddleware(plain)
