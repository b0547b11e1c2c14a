"""A Flask application with several identity libraries side by side, as the integration tests drive it."""

import os

import jwt
from authlib.integrations.flask_oauth2 import ResourceProtector
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7523 import JWTBearerTokenValidator
from flask import Blueprint, Flask, Response, abort, g, request, session
from flask_httpauth import HTTPBasicAuth, HTTPDigestAuth, HTTPTokenAuth
from joserfc.jwk import OctKey

SECRET = "only for tests, signs nothing of value"
PASSWORD = os.environ["SITE_PASSWORD"]

app = Flask(__name__)
app.secret_key = SECRET
site = Blueprint("site", __name__)
basic = HTTPBasicAuth()
token = HTTPTokenAuth()
own_header = HTTPTokenAuth(header="X-Portal-Key")
echoing = HTTPTokenAuth(header="X-Portal-Key")
of_key = HTTPTokenAuth("ApiKey")
digest = HTTPDigestAuth()


@basic.verify_password
def verify_password(name: str, password: str):
    return {"id": 11, "username": name} if password == PASSWORD else None


@digest.get_password
def get_password(name: str):
    return PASSWORD


@token.verify_token
@own_header.verify_token
def verify_token(text: str):
    return "henry" if text.startswith("key-") else None


@echoing.verify_token
def verify_echoing(text: str):
    return text


class ApiKey:
    """A row of a table of keys, with whom it belongs to."""

    def __init__(self, text: str) -> None:
        self.id = 901
        self.secret = text
        self.name = "Weekly mirror"
        self.owner = {"id": 13, "username": "kate"}


@of_key.verify_token
def verify_key(text: str):
    return ApiKey(text)


class Row:
    """A row of a token table, as Authlib's own models are: its id is not the user's."""

    def __init__(self, text: str) -> None:
        self.id = 900
        self.access_token = text
        self.client_id = "nightly-export"
        self.user_id = 12

    def is_expired(self) -> bool:
        return False

    def is_revoked(self) -> bool:
        return False

    def get_scope(self) -> str:
        return "read"


class OfTable(BearerTokenValidator):
    def authenticate_token(self, token_string: str):
        return Row(token_string) if token_string.startswith("row-") else None


of_table = ResourceProtector()
of_table.register_token_validator(OfTable())
of_claims = ResourceProtector()
of_claims.register_token_validator(JWTBearerTokenValidator(OctKey.import_key(SECRET)))


@site.get("/httpauth/basic")
@basic.login_required
def by_basic():
    return "basic"


@site.get("/httpauth/token")
@token.login_required
def by_token():
    return "token"


@site.get("/httpauth/optional")
@token.login_required(optional=True)
def by_optional_token():
    return "token"


@site.get("/httpauth/header")
@own_header.login_required
def by_own_header():
    return "header"


@site.get("/httpauth/echo")
@echoing.login_required
def by_echo():
    return "echo"


@site.get("/httpauth/key")
@of_key.login_required
def by_key():
    return "key"


@site.get("/httpauth/digest")
@digest.login_required
def by_digest():
    return "digest"


@site.get("/authlib/row")
@of_table("read")
def by_row():
    return "row"


@site.get("/authlib/claims")
@of_claims()
def by_claims():
    return "claims"


@app.before_request
def of_pyjwt() -> None:
    if request.path.startswith("/pyjwt/"):
        try:
            g.token = jwt.decode(request.headers["Authorization"].partition(" ")[2], SECRET, algorithms=["HS256"])
        except (KeyError, jwt.InvalidTokenError):
            abort(401)
        g.user = {"id": g.token["sub"], "username": "ivy"}


@site.get("/pyjwt/claims")
def by_pyjwt():
    return "claims"


@site.get("/pyjwt/boom")
def boom():
    raise RuntimeError("boom on purpose")


@site.get("/pyjwt/propagated")
def propagated():
    app.config["PROPAGATE_EXCEPTIONS"] = True
    raise RuntimeError("propagated on purpose")


@site.get("/pyjwt/streamed")
def streamed():
    return Response(b"x" * 1000 for _ in range(5))


@site.post("/session/login")
def sign_in():
    session["user"] = {"sub": "liam", "name": "Liam", "email": "liam@example.org"}
    return "in"


@site.get("/session/page")
def by_session():
    return "page"


@site.get("/principal")
def by_principal():
    g.identity = type("Identity", (), {})()
    g.identity.id = "judy"
    return "identity"


app.register_blueprint(site)
