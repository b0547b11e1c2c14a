"""Spans of languages and proxies that are not in tests/data/recorded: one request each, as their sources say.

The request is `GET /items/7?page=3` of a client at 203.0.113.7 with "Authorization: Bearer tok-0123456789abcdefghij",
wherever the proxy or the library can be told to capture it.
"""

from dataclasses import dataclass, field
from typing import Any

TOKEN = "tok-0123456789abcdefghij"


@dataclass(frozen=True)
class ForeignSpan:
    """A SERVER span, and which columns of its row are not those of the others."""

    label: str
    name: str
    attributes: dict[str, Any]
    different: dict[str, Any] = field(default_factory=dict)


SPANS = [
    # go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp v0.72: semconv/server.go. It captures no headers
    # and no query, and knows the route only once the request was served: it is in the name.
    ForeignSpan(
        "Go: otelhttp, net/http",
        "GET /items/{id}",
        {
            "server.address": "shop.example",
            "http.request.method": "GET",
            "url.scheme": "http",
            "server.port": 8080,
            "network.peer.address": "203.0.113.7",
            "network.peer.port": 50100,
            "user_agent.original": "curl/7.88.1",
            "client.address": "203.0.113.7",
            "url.path": "/items/7",
            "network.protocol.version": "1.1",
            "http.response.body.size": 1234,
            "http.response.status_code": 200,
        },
        {"query": None, "token_id": None, "token_scheme": None},
    ),
    # go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin: the route is gin's FullPath().
    ForeignSpan(
        "Go: otelgin",
        "GET /items/:id",
        {
            "server.address": "shop.example",
            "http.request.method": "GET",
            "url.scheme": "http",
            "network.peer.address": "203.0.113.7",
            "client.address": "203.0.113.7",
            "user_agent.original": "curl/7.88.1",
            "url.path": "/items/7",
            "network.protocol.version": "1.1",
            "http.route": "/items/:id",
            "http.response.status_code": 200,
            "http.response.body.size": 1234,
        },
        {"query": None, "token_id": None, "token_scheme": None, "route": "/items/:id"},
    ),
    # nginxinc/nginx-otel, src/http_module.cpp, addDefaultSrvAttrs; headers by `otel_span_attr
    # http.request.header.authorization $http_authorization`. The route is the location's name.
    ForeignSpan(
        "nginx: ngx_otel_module",
        "/",
        {
            "http.method": "GET",
            "http.target": "/items/7?page=3",
            "http.scheme": "http",
            "http.route": "/",
            "http.flavor": "1.1",
            "http.user_agent": "curl/7.88.1",
            "http.request_content_length": 0,
            "net.host.name": "shop.example",
            "net.sock.peer.addr": "203.0.113.7",
            "net.sock.peer.port": 50100,
            "net.host.port": 8080,
            "http.response_content_length": 1234,
            "http.status_code": 200,
            "http.request.header.authorization": f"Bearer {TOKEN}",
        },
        {"request_bytes": 0},
    ),
    # traefik/traefik v3, pkg/tracing/tracing.go, LogServerRequest; headers by `capturedRequestHeaders`.
    ForeignSpan(
        "Traefik 3",
        "GET",
        {
            "entry_point": "web",
            "http.request.method": "GET",
            "network.protocol.version": "1.1",
            "http.request.body.size": -1,
            "url.path": "/items/7",
            "url.query": "page=REDACTED",
            "url.scheme": "http",
            "user_agent.original": "curl/7.88.1",
            "server.address": "shop.example:8080",
            "client.address": "203.0.113.7",
            "client.port": 50100,
            "client.socket.address": "",
            "http.request.header.authorization": [f"Bearer {TOKEN}"],
            "http.response.status_code": 200,
        },
        {"query": "page=REDACTED", "response_bytes": None},
    ),
    # envoyproxy/envoy, source/common/tracing/http_tracer_impl.cc and tracer_impl.cc: every tag is text; headers by
    # `custom_tags`.
    ForeignSpan(
        "Envoy",
        "ingress",
        {
            "node_id": "",
            "guid:x-request-id": "5a9ff1c5-0a1c-9a2b-9d4a-6c1f6c7a0f11",
            "http.url": "http://shop.example:8080/items/7?page=3",
            "http.method": "GET",
            "downstream_cluster": "-",
            "user_agent": "curl/7.88.1",
            "http.protocol": "HTTP/1.1",
            "peer.address": "203.0.113.7:50100",
            "http.request.header.authorization": f"Bearer {TOKEN}",
            "request_size": "0",
            "response_size": "1234",
            "component": "proxy",
            "upstream_cluster": "shop",
            "upstream_cluster.name": "shop",
            "http.status_code": "200",
            "response_flags": "-",
        },
        {"request_bytes": 0},
    ),
    # @opentelemetry/instrumentation-http 0.57, the names before 1.27: headers are arrays with underscores; a bare
    # server without framework has no route.
    ForeignSpan(
        "Node.js: http, no framework",
        "GET",
        {
            "http.url": "http://shop.example:8080/items/7?page=3",
            "http.host": "shop.example:8080",
            "net.host.name": "shop.example",
            "http.method": "GET",
            "http.scheme": "http",
            "http.target": "/items/7?page=3",
            "http.user_agent": "curl/7.88.1",
            "http.flavor": "1.1",
            "net.transport": "ip_tcp",
            "net.host.ip": "127.0.0.1",
            "net.host.port": 8080,
            "net.peer.ip": "::ffff:203.0.113.7",
            "net.peer.port": 50100,
            "http.status_code": 200,
            "http.status_text": "OK",
            "http.request.header.authorization": [f"Bearer {TOKEN}"],
        },
        {"response_bytes": None},
    ),
    # vercel/next.js, packages/next/src/server/base-server.ts: the span "BaseServer.handleRequest".
    ForeignSpan(
        "Node.js: Next.js",
        "GET /items/[id]",
        {
            "next.span_name": "GET /items/[id]",
            "next.span_type": "BaseServer.handleRequest",
            "http.method": "GET",
            "http.target": "/items/7?page=3",
            "http.status_code": 200,
            "http.route": "/items/[id]",
            "next.route": "/items/[id]",
            "next.rsc": False,
        },
        {
            "token_id": None,
            "token_scheme": None,
            "route": "/items/[id]",
            "host": None,
            "scheme": None,
            "protocol_version": None,
            "client_address": None,
            "user_agent": None,
            "response_bytes": None,
        },
    ),
]
