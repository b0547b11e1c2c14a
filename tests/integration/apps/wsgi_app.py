"""A plain WSGI application behind OpenTelemetry's middleware, as the integration tests drive it."""

from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

from otel_usage import identify, record_access


def plain(environ, start_response):
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if environ.get("HTTP_AUTHORIZATION", "").startswith("Bearer tok"):
        environ["REMOTE_USER"] = "alice"
    status, headers, body = answer(environ, method, path)
    start_response(status, headers)
    return body


def answer(environ, method, path):
    if path == "/boom":
        raise RuntimeError("boom on purpose")
    if path.endswith("/404") or path.startswith("/nowhere"):
        return "404 Not Found", [], [b"no"]
    if path == "/datasets" and method == "POST":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        return "201 Created", [], [b'{"bytes": %d}' % len(body)]
    if path.endswith("/download"):
        count = int(environ["QUERY_STRING"].removeprefix("chunks=") or 5)
        return "200 OK", [("Content-Disposition", "attachment; filename=a.csv")], (b"x" * 1000 for _ in range(count))
    if path.startswith("/files/") and environ.get("HTTP_IF_NONE_MATCH") == '"1"':
        return "304 Not Modified", [("ETag", '"1"')], []
    if path.startswith("/private/"):
        return "401 Unauthorized", [], [b"who?"]
    if path == "/said":
        identify(user_id="u-7", user_name="Grace", token_name="nightly export")
        record_access("report", "r-1", name="Yearly", parent=("project", "p-9"), action="render")
        record_access("report", "r-2")
    body = b"" if method == "HEAD" else b"content"
    return "200 OK", [("Content-Length", "7")], [body]


app = OpenTelemetryMiddleware(plain)
