"""The Flask application on servers that have no command: `python served_app.py <server> <port>`."""

import sys

SERVER, PORT = sys.argv[1], int(sys.argv[2])

if SERVER == "gevent":
    from gevent import monkey

    monkey.patch_all()
if SERVER == "eventlet":
    import eventlet

    eventlet.monkey_patch()

from flask_app import app  # noqa: E402 - such servers replace sockets and threads before anything else


def wsgiref() -> None:
    from wsgiref.simple_server import make_server

    make_server("127.0.0.1", PORT, app).serve_forever()


def werkzeug() -> None:
    app.run("127.0.0.1", PORT)


def cheroot() -> None:
    from cheroot.wsgi import Server

    Server(("127.0.0.1", PORT), app).start()


def gevent() -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", PORT), app).serve_forever()


def eventlet() -> None:
    from eventlet import listen, wsgi

    wsgi.server(listen(("127.0.0.1", PORT)), app)


{serve.__name__: serve for serve in (wsgiref, werkzeug, cheroot, gevent, eventlet)}[SERVER]()
