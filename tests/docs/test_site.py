"""The site as readers get it: built strictly, no broken link, nothing from another server, readable by everybody."""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
MAIN_PAGES = [
    "",
    "install/",
    "tutorials/two-matrices/",
    "concepts/",
    "generated/gallery/",
    "generated/gallery/plot_diagnosis/",
    "api/encoder/",
    "results/representation/",
    "architecture/",
]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.slow


class Links(HTMLParser):
    """What a page links, what it loads, and where it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.linked, self.loaded, self.anchors = set(), set(), {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(values[name] for name in ("id", "name") if values.get(name))
        if tag == "a" and values.get("href"):
            self.linked.add(values["href"])
        if tag in {"script", "img", "source", "iframe"} and values.get("src"):
            self.loaded.add(values["src"])
        if tag == "link" and values.get("rel") in {"stylesheet", "icon", "preload", "preconnect"}:
            self.loaded.add(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="needs mkdocs: pip install 'modalsplit[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "MPLBACKEND": "agg"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {page.relative_to(site).as_posix(): Links(page.read_text()) for page in site.rglob("*.html")}


def test_no_link_is_broken(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.linked | page.loaded:
            target, anchor = urldefrag(urljoin(f"http://site/{name}", link))
            parts = urlsplit(target)
            if name == "404.html" or parts.scheme not in {"http", "https"} or parts.netloc != "site":
                continue
            path = unquote(parts.path).lstrip("/")
            file = site / path / "index.html" if (site / path).is_dir() else site / path
            found = pages.get(file.relative_to(site).as_posix())
            if not file.exists() or (found and unquote(anchor) not in found.anchors):
                broken.append((name, link))
    assert broken == []


def test_no_page_loads_anything_from_another_server(pages):
    outside = {(name, url) for name, page in pages.items() for url in page.loaded if urlsplit(url).netloc}
    assert outside == set()


def test_formulas_are_set(site):
    for name in ("concepts", "diverges"):
        text = (site / name / "index.html").read_text()
        assert text.count("<math") > 10
        assert "arithmatex" not in text


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install 'modalsplit[browser]'"
    )
    if CHROMIUM is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(site):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_and_everybody_can_read_them(browser, address, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe: pip install 'modalsplit[browser]'"
    )
    tab = browser.new_page(viewport={"width": width, "height": 900})
    said, found = [], []
    tab.on("console", lambda message: said.append((tab.url, message.text)) if message.type == "error" else None)
    for page in MAIN_PAGES:
        tab.goto(address + page)
        tab.wait_for_timeout(300)
        if tab.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append((page, "wider than the screen"))
        for violation in axe.Axe().run(tab).response["violations"]:
            if violation["impact"] in {"serious", "critical"}:
                where = [node["target"] for node in violation["nodes"][:3]]
                found.append((page, violation["id"], len(violation["nodes"]), where))
    tab.close()
    assert said == []
    assert found == [], "\n".join(map(str, found))
