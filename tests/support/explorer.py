"""The explorer as tests use it: a server on a free port, and requests to it."""

from __future__ import annotations

import sys
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection

from paths import ROOT
from report_pages import Reader, chromium
from weakspot.app.loaded_runs import LoadedRuns
from weakspot.app.run_index import RunIndex
from weakspot.app.site import Site, make_server
from weakspot.app.uploaded_models import UploadChoices
from weakspot.commands.component_builders import run_previews

WORDS = UploadChoices(
    (sys.executable, str(ROOT / "discover.py")),
    datasets=("colored_digits", "digits"),
    models=("small_cnn",),
    methods=("scan", "udis"),
    extra_words=("logger=none", "trainer=cpu"),
)


class _Reader(Reader):
    VOID = (*Reader.VOID, "input", "wbr")


def read(page):
    """The text of a page; asserts that every element is closed."""
    return _Reader(page).words


def record_of(outputs, method):
    """The record of a method's run in a folder of outputs."""
    runs = RunIndex([outputs])
    return LoadedRuns(runs).load(next(run for run in runs.all() if run.method == method))


@contextmanager
def serving(*folders, previews_of=run_previews, data_folders=(), **settings):
    site = Site(folders, WORDS, previews_of, data_folders)
    server = make_server(site, **settings)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(timeout=10)
        site.audits.stop()


def asked(server, path, host="localhost", method="GET", body=None, **headers):
    """Status, headers and text of a response."""
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        connection.request(method, path, body, {"Host": f"{host}:{server.port}"} | headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def follow(tab, element):
    """Click a link to another page and wait for that page: counting or listing elements does not wait."""
    with tab.expect_navigation():
        element.click()


def posted(server, path, content=b"", name="tree.json", field="file", **fields):
    """The response to a form with a file, posted as a browser would from a page of the server."""
    edge = "edge7d1f"
    builders = [
        f'--{edge}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    head = f'--{edge}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    body = b"".join([*builders, head.encode(), content, f"\r\n--{edge}--\r\n".encode()])
    headers = {
        "Origin": f"http://localhost:{server.port}",
        "Content-Type": f"multipart/form-data; boundary={edge}",
    }
    return asked(server, path, method="POST", body=body, **headers)


@contextmanager
def opened(server, **options):
    """A tab of a real browser on the list of runs; asserts that the console stays empty."""
    with chromium() as browser:
        tab, complaints = browser.new_page(**options), []
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"http://localhost:{server.port}/")
        yield tab
        assert complaints == []
