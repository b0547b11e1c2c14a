"""A small application that is fine; told so, it asks itself while it is imported, which is nobody's use."""

import os

from flask import Flask

app = Flask(__name__)


@app.get("/datasets/<int:dataset_id>")
def dataset(dataset_id):
    return {"id": dataset_id}


if "SITE_ASKS_ITSELF" in os.environ:
    app.test_client().get("/datasets/1")


def create_app(name="made"):
    """A factory, as servers may be told to call."""
    return Flask(name)
