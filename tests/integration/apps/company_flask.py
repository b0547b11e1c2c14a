"""A Flask application with another tool beside us."""

import company_tools
from flask import Flask, g

company_tools.before()
app = Flask(__name__)


@app.get("/datasets/<int:dataset_id>")
def dataset(dataset_id: int):
    g.user = {"id": "alice"}
    return "a dataset"


@app.get("/boom")
def boom():
    raise RuntimeError("boom on purpose")


company_tools.after(app, "flask")
