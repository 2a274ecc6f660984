"""The page in headless Chromium: search, click, keyboard, no request, no attack, accessibility, phone width.

The browser is Debian's chromium or what MODALSPLIT_CHROMIUM names; axe-core's script is what MODALSPLIT_AXE names, or
that of axe-playwright-python, or that of node_modules. Without them the tests are skipped.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import modalsplit

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("MODALSPLIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium; MODALSPLIT_CHROMIUM may name one", allow_module_level=True)

TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def axe_script():
    places = [os.environ.get("MODALSPLIT_AXE"), "node_modules/axe-core/axe.min.js"]
    package = importlib.util.find_spec("axe_playwright_python")
    if package is not None:
        places += [Path(folder) / "axe.min.js" for folder in package.submodule_search_locations]
    found = next((Path(place) for place in places if place and Path(place).is_file()), None)
    if found is None:
        pytest.skip("there is no axe.min.js; MODALSPLIT_AXE may name one (npm install axe-core)")
    return found.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["desktop", "phone"])
def tab(request, browser, page):
    """Open the page; whatever the test does, nothing may be said, thrown, fetched or attacked."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    tab = context.new_page()
    trouble, requests = [], []
    tab.on("console", lambda message: trouble.append(message.text))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("dialog", lambda dialog: trouble.append(dialog.message))
    tab.on("request", lambda asked: requests.append(asked.url))
    tab.goto(page.as_uri())
    yield tab
    assert trouble == []
    assert [url for url in requests if not url.startswith("data:")] == [page.as_uri()]
    assert tab.evaluate("window.attacked") is None
    context.close()


def shows(tab, text):
    """Wait for a view: it changes a moment after a click."""
    playwright.expect(tab.locator("h1")).to_have_text(text)


def listed(shop):
    """Users from the most to the least active, in even steps."""
    activity = np.asarray(shop.taken.sum(axis=0)).ravel()
    order = np.argsort(-activity, kind="stable")
    return [shop.taken.user_ids[order[place]] for place in np.linspace(0, 29, 9).astype(int)]


def test_search_then_item_then_neighbour_then_back(tab, shop):
    n_found = sum("number" in title and "4" in title for title in shop.items["title"])
    assert tab.locator(".grid li").count() == 60
    tab.get_by_role("button", name="Show more").click()
    assert tab.locator(".grid li").count() == 90
    tab.get_by_label("Search in titles, texts and ids").fill("number 4 WINE")
    assert tab.get_by_role("status").inner_text() == f"{n_found} items found"
    tab.get_by_role("link", name="Wine number 48", exact=True).click()
    shows(tab, "Wine number 48")
    assert tab.title().startswith("Wine number 48 ")
    headings = tab.locator("h2").all_inner_texts()
    assert headings == [
        "Alike in what the modalities share",
        "Alike in what is specific to image",
        "Alike in what is specific to text",
    ]
    neighbour = tab.locator("section").nth(1).get_by_role("link").first
    name = neighbour.inner_text()
    neighbour.click()
    shows(tab, name)
    tab.go_back()
    tab.go_back()
    tab.get_by_role("status").wait_for()
    assert tab.get_by_role("status").inner_text() == f"{n_found} items found"


def test_attacks_stay_text(tab, shop):
    tab.get_by_label("Search").fill("attacked")
    n = tab.locator(".grid li").count()
    assert n == sum("attacked" in title for title in shop.items["title"])
    for i in range(n):
        tab.goto(tab.url.partition("#")[0] + f"#/item/{i}")
        shows(tab, " ".join(shop.items["title"].iloc[i].split()))
    for user, name in enumerate(listed(shop)):
        tab.goto(tab.url.partition("#")[0] + f"#/user/{user}")
        shows(tab, f"User {' '.join(name.split())}")
    for place in ("#/item/9999", "#/item/<img src=x onerror=window.attacked=true>", "#/nowhere", "#/user/-1"):
        tab.goto(tab.url.partition("#")[0] + place)
        shows(tab, "Items")


def test_a_users_list_says_what_drove_each_item(tab, shop):
    tab.get_by_role("link", name="Users").click()
    shows(tab, f"User {' '.join(listed(shop)[0].split())}")
    assert tab.get_by_role("link", name="Users").get_attribute("aria-current") == "page"
    tab.get_by_label("Another user").select_option(index=3)
    tab.get_by_role("button", name="Show").click()
    shows(tab, f"User {' '.join(listed(shop)[3].split())}")
    rows = tab.locator("section").first.locator("li")
    assert rows.count() == 10
    assert rows.first.locator(".driver").inner_text().startswith("Driven by ")
    rows.first.locator("summary").click()
    cells = [float(text) for text in rows.first.locator("tbody tr td:nth-child(2)").all_inner_texts()]
    assert sum(cells[:-1]) == pytest.approx(cells[-1], abs=0.05)


def test_the_keyboard_is_enough(tab):
    def press(*keys):
        for key in keys:
            tab.keyboard.press(key)

    def focused(what="textContent"):
        return tab.evaluate(f"document.activeElement.{what}")

    press("Tab")
    assert focused() == "Skip to the content"
    assert tab.locator(".skip").bounding_box()["x"] >= 0
    press("Enter")
    assert focused("id") == "main"
    press("Tab")
    assert focused("id") == "search"
    tab.keyboard.type("number 71")
    tab.get_by_role("status").filter(has_text="1 item found").wait_for()
    press("Tab")
    assert focused() == "Wine number 71"
    style = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"
    press("Enter")
    tab.locator("h1:focus", has_text="Wine number 71").wait_for()
    press("Tab", "Enter")
    tab.locator("h1:focus", has_not_text="Wine number 71").wait_for()
    tab.get_by_role("link", name="Users").focus()
    press("Enter")
    tab.locator("h1:focus", has_text="User ").wait_for()
    press("Tab", "ArrowDown", "Tab", "Enter")
    tab.wait_for_url("**/*#/user/1")
    tab.locator("h1:focus", has_text="User ").wait_for()


def test_a_catalogue_of_texts_has_no_frames_for_pictures(browser, shop, tmp_path):
    path = shop.report(tmp_path / "texts.html", users=1)
    tab = browser.new_page()
    tab.goto(path.as_uri())
    assert tab.locator(".picture").count() == 60
    items = shop.items.drop(columns="image")
    modalsplit.report(shop.pipeline, items, None, path, features=shop.features, users=1, overwrite=True)
    for place in ("#/items", "#/item/3", "#/users"):
        tab.goto(path.as_uri() + place)
        tab.reload()
        assert tab.locator("h1").count() == 1
        assert tab.locator(".picture").count() == 0
    tab.close()


def test_more_items_go_on_at_the_first_new_one(tab):
    tab.get_by_role("button", name="Show more").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.textContent") == tab.locator(".grid li").nth(60).inner_text()


@pytest.mark.parametrize(("place", "shows"), [("#/items", ".grid"), ("#/item/3", ".item"), ("#/users", "#user")])
def test_accessible_and_not_wider_than_the_screen(tab, place, shows):
    script = axe_script()
    tab.goto(tab.url.partition("#")[0] + place)
    tab.locator(shows).wait_for()
    if place == "#/users":
        tab.locator("summary").first.click()
    assert not tab.evaluate(TOO_WIDE)
    tab.evaluate(script)
    found = tab.evaluate("axe.run()")["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []
