"""Applications wrapped by hand: plain ones, and ones that are instrumented already, wrapped in every place."""

from asgi_app import plain as plain_asgi
from fastapi import FastAPI
from flask import Flask
from wsgi_app import plain as plain_wsgi

from otel_usage import wrap_asgi, wrap_wsgi

wsgi = wrap_wsgi(plain_wsgi)
asgi = wrap_asgi(plain_asgi)

flask = Flask(__name__)


@flask.get("/datasets/<int:dataset_id>")
def dataset(dataset_id: int):
    return {"id": dataset_id}


flask.wsgi_app = wrap_wsgi(flask.wsgi_app)
wrapped_flask = wrap_wsgi(wrap_wsgi(flask))

fastapi = FastAPI()


@fastapi.get("/datasets/{dataset_id}")
def dataset_of_fastapi(dataset_id: int):
    return {"id": dataset_id}


fastapi.add_middleware(wrap_asgi)
wrapped_fastapi = wrap_asgi(wrap_asgi(fastapi))
