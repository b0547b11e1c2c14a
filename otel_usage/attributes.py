"""Every attribute key this package reads or writes, once.

Names follow the OpenTelemetry semantic conventions; where a key was renamed, the readers know both
generations (`docs/how-it-works.md`). Nothing but names lives here.
"""

from typing import Final

# Ours.
TOKEN_ID: Final = "usage.token.id"
TOKEN_NAME: Final = "usage.token.name"
TOKEN_SCHEME: Final = "usage.token.scheme"
TOKEN_HINT: Final = "usage.token.hint"
USER_SOURCE: Final = "usage.user.source"
RESOURCE_TYPE: Final = "usage.resource.type"
RESOURCE_ID: Final = "usage.resource.id"
RESOURCE_NAME: Final = "usage.resource.name"
RESOURCE_PARENT_TYPE: Final = "usage.resource.parent.type"
RESOURCE_PARENT_ID: Final = "usage.resource.parent.id"
ACTION: Final = "usage.action"
OPERATION: Final = "usage.operation"
SAMPLED: Final = "usage.sampled"
# On an ordinary span whose application sends the record of the request itself, which knows more.
FORWARDED: Final = "usage.forwarded"

RESOURCE_KEYS: Final = (RESOURCE_TYPE, RESOURCE_ID, RESOURCE_NAME, RESOURCE_PARENT_TYPE, RESOURCE_PARENT_ID)
TOKEN_KEYS: Final = (TOKEN_ID, TOKEN_NAME, TOKEN_SCHEME, TOKEN_HINT)

# Reused from the semantic conventions.
USER_ID: Final = "user.id"
USER_NAME: Final = "user.name"
ENDUSER_ID: Final = "enduser.id"
SESSION_ID: Final = "session.id"
ERROR_TYPE: Final = "error.type"
COUNTRY: Final = "geo.country.iso_code"
REFERER: Final = "http.request.header.referer"
HEADER_PREFIXES: Final = ("http.request.header.", "http.response.header.")
HTTP_ROUTE: Final = "http.route"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_RESPONSE_BODY_SIZE: Final = "http.response.body.size"
HTTP_STATUS_CODE: Final = "http.response.status_code"
HTTP_METHOD_ORIGINAL: Final = "http.request.method_original"
# What the semantic conventions have an instrumentation say for a method it does not know.
OTHER_METHOD: Final = "_OTHER"

# One fact, its names from the newest convention to the oldest, then those of Envoy, which follows none; the first
# that is present is taken.
METHOD_KEYS: Final = ("http.request.method", "http.method")
STATUS_KEYS: Final = (HTTP_STATUS_CODE, "http.status_code")
PATH_KEY: Final = "url.path"
QUERY_KEY: Final = "url.query"
TARGET_KEYS: Final = ("http.target",)
URL_KEYS: Final = ("url.full", "http.url")
SCHEME_KEYS: Final = ("url.scheme", "http.scheme")
HTTP_PROTOCOL: Final = "http.protocol"
PROTOCOL_VERSION_KEYS: Final = ("network.protocol.version", "http.flavor", HTTP_PROTOCOL)
HOST_KEYS: Final = ("server.address", "http.host", "net.host.name", "http.server_name")
CLIENT_ADDRESS_KEYS: Final = (
    "client.address",
    "http.client_ip",
    "net.sock.peer.addr",
    "network.peer.address",
    "net.peer.ip",
    "peer.address",
)
CLIENT_PORT_KEYS: Final = ("client.port", "net.sock.peer.port", "network.peer.port", "net.peer.port")
_ADDRESS_HEADERS: Final = (
    *("forwarded", "x-forwarded-for", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
    *("cf-connecting-ip", "fastly-client-ip", "x-envoy-external-address"),
)
# Further places of client addresses, and beginnings of their names; the last two are Traefik's and Zipkin's.
FORWARDED_HEADERS: Final = (
    *(f"http.request.header.{name}" for name in _ADDRESS_HEADERS),
    *(f"http.request.header.{name.replace('-', '_')}" for name in _ADDRESS_HEADERS),
    "client.socket.address",
    "peer.ipv",
)
USER_AGENT_KEYS: Final = ("user_agent.original", "http.user_agent", "user_agent")
REQUEST_BYTES_KEYS: Final = (HTTP_REQUEST_BODY_SIZE, "http.request_content_length", "request_size")
RESPONSE_BYTES_KEYS: Final = (HTTP_RESPONSE_BODY_SIZE, "http.response_content_length", "response_size")
USER_ID_KEYS: Final = (USER_ID, ENDUSER_ID)

# Of the OTel resource.
SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
ENVIRONMENT_KEYS: Final = ("deployment.environment.name", "deployment.environment")
