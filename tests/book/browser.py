"""What a reader's browser says of HTML files: python browser.py FILE... prints the problems as JSON, [] for none.

It runs in the environment of the book, with the machine's own Chromium.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (1280, 390)
PAPER = 718  # CSS pixels: A4 without margins of 10 mm
IMAGES = """[...document.images].filter(i => !i.alt.trim() && i.getAttribute('role') !== 'presentation')
  .map(i => i.outerHTML.slice(0, 90))"""
# What sticks out on the right, and stands in no box that scrolls.
OUTSIDE = """limit => [...document.querySelectorAll(
    ['table', 'caption', 'img', 'pre', 'math', 'p', 'li'].map(tag => `main ${tag}`))]
  .filter(e => e.checkVisibility())
  .map(e => [e, e.getBoundingClientRect().right])
  .filter(([e, right]) => right > limit + 1 && !scrolled(e))
  .map(([e, right]) => `${e.tagName} to ${Math.round(right)} of ${limit}: ${e.textContent.trim().slice(0, 60)}`)"""
SCROLLED = """void (window.scrolled = e => {
  for (let box = e.parentElement; box; box = box.parentElement)
    if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return true;
  return false;
})"""
# On paper nothing scrolls: what is wider than its box is lost.
CUT = """() => [...document.querySelectorAll('main *')]
  .filter(e => e.checkVisibility() && e.clientWidth && e.scrollWidth > e.clientWidth + 2)
  .filter(e => getComputedStyle(e).overflowX !== 'visible')
  .map(e => `${e.tagName}.${e.className} ${e.scrollWidth} in ${e.clientWidth}: ${e.textContent.trim().slice(0, 60)}`)"""


def browser_path():
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Browser:
    """Chromium with one page at a time; ``problems`` collects what is wrong."""

    def __init__(self, playwright, axe):
        self._chromium = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        self._axe = axe
        self.problems = []

    def open(self, path, width, **options):
        page = self._chromium.new_page(viewport={"width": width, "height": 900}, **options)
        where = f"{path.name} at {width}"
        page.on("console", lambda said: said.type == "error" and self.problems.append(f"{where}: console: {said.text}"))
        page.on("pageerror", lambda error: self.problems.append(f"{where}: error: {error}"))
        page.on("request", lambda request: self._look_at(request, where))
        page.goto(path.as_uri(), wait_until="load")
        page.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)")
        page.evaluate(SCROLLED)
        return page

    def _look_at(self, request, where):
        if urlparse(request.url).scheme not in ("file", "data", "blob"):
            self.problems.append(f"{where}: asks another host for {request.url}")

    def say(self, where, found):
        self.problems += [f"{where}: {one}" for one in found]

    def check(self, path):
        for width in WIDTHS:
            page = self.open(path, width)
            where = f"{path.name} at {width}"
            self.say(where, [f"no alt text: {image}" for image in page.evaluate(IMAGES)])
            needs = page.evaluate("document.documentElement.scrollWidth")
            self.say(where, [f"{needs} pixels wide"] if needs > width else [])
            self.say(where, page.evaluate(OUTSIDE, width))
            if width == WIDTHS[0]:
                self.say(path.name, self.links(page, path))
                self.accessibility(page, where)
                page.emulate_media(color_scheme="dark")
                page.wait_for_timeout(600)  # colours change in a third of a second
                self.accessibility(page, f"{path.name} in the dark", "color-contrast")
                page.emulate_media(color_scheme="light")
                self.paper(page, path)
            else:
                self.accessibility(page, where, "scrollable-region-focusable")
            page.close()

    def accessibility(self, page, where, *rules):
        """What axe finds, by all of its rules or by those that are named."""
        page.add_script_tag(content=self._axe)
        options = {"resultTypes": ["violations"], "preload": False} | ({"runOnly": list(rules)} if rules else {})
        found = page.evaluate("options => axe.run(document, options)", options)["violations"]
        for one in found:
            if one["impact"] in ("serious", "critical"):
                at = one["nodes"][0]
                self.problems.append(
                    f"{where}: axe: {one['id']}, {len(one['nodes'])} times: {at['html'][:150]} {at['target']}"
                )

    def paper(self, page, path):
        page.emulate_media(media="print")
        page.set_viewport_size({"width": PAPER, "height": 1000})
        self.say(f"{path.name} on paper", page.evaluate(CUT) + page.evaluate(OUTSIDE, PAPER))
        if not page.pdf(format="A4").startswith(b"%PDF"):
            self.problems.append(f"{path.name}: no PDF")

    def links(self, page, path):
        targets = page.evaluate("[...document.querySelectorAll('a[href]')].map(a => a.href)")
        for target in sorted(set(targets)):
            file, anchor = urldefrag(target)
            if urlparse(file).scheme != "file":
                continue
            named = Path(unquote(urlparse(file).path))
            if not named.is_file():
                yield f"a link to nothing: {target}"
            elif anchor and named.suffix == ".html" and not has_anchor(named, unquote(anchor)):
                yield f"a link to no place of {named.name}: #{anchor}"

    def search(self, book, words, page_name):
        page = self.open(book / "search.html", WIDTHS[0])
        page.goto((book / "search.html").as_uri() + f"?q={words.replace(' ', '+')}")
        try:
            page.wait_for_selector(f"#search-results a[href*='{page_name}']", timeout=20_000)
        except Exception:
            found = page.locator("#search-results").inner_text()
            self.problems.append(f"search for {words!r} does not find {page_name}: {found[:200]}")
        page.close()

    def close(self):
        self._chromium.close()


def has_anchor(file, anchor):
    text = file.read_text(encoding="utf-8")
    return f'id="{anchor}"' in text or f'name="{anchor}"' in text


def main():
    from axe_playwright_python import base
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--search", nargs=2, metavar=("WORDS", "PAGE"), help="of a book: what the search must find")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        browser = Browser(playwright, Path(base.__file__).with_name("axe.min.js").read_text())
        for file in options.files:
            browser.check(file.resolve())
            print(f"{file.name}: {len(browser.problems)} problems so far", file=sys.stderr, flush=True)
        if options.search:
            browser.search(options.files[0].resolve().parent, *options.search)
        browser.close()
    json.dump(browser.problems, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
