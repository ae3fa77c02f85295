"""A reader in JupyterLab: python drive.py URL PAGE prints what was seen as JSON. It runs in the book's environment."""

import json
import re
import shutil
import sys
import time

from playwright.sync_api import expect, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 240_000  # milliseconds, on a busy machine


def wait_until_it_has_its_kernel(page, name):
    """Before a page is connected with its kernel, JupyterLab takes Run All and does nothing, whatever it shows."""
    server = page.url[: page.url.index("/", 8)]
    until = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < until:
        for session in page.request.get(f"{server}/api/sessions").json():
            kernel = session["kernel"] or {}
            if session["path"].endswith(name) and kernel.get("connections") and kernel["execution_state"] == "idle":
                return
        page.wait_for_timeout(200)
    raise TimeoutError(f"{name} has no kernel")


def read(page, name):
    """Open a page, run it, and save it."""
    page.locator(".jp-DirListing-item", has_text=name).dblclick()
    # Until the page is in front, the menu's words mean the page before it.
    expect(page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")).to_have_text(name, timeout=PATIENCE)
    notebook = page.locator(".jp-NotebookPanel:visible")
    expect(notebook.locator(".jp-Cell").first).to_be_visible(timeout=PATIENCE)
    wait_until_it_has_its_kernel(page, name)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).click()
    last = notebook.locator(".jp-CodeCell").last.locator(".jp-InputPrompt")
    expect(last).to_have_text(re.compile(r"\[\d+\]:"), timeout=PATIENCE)
    page.keyboard.press("Control+s")
    page.wait_for_timeout(3_000)


def main():
    url, name = sys.argv[1:]
    seen = {}
    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, BROWSERS)))
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url, wait_until="load", timeout=PATIENCE)
        expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").first).to_be_visible(timeout=PATIENCE)
        seen["first"] = page.locator(".jp-NotebookPanel:visible h1").first.inner_text()
        page.wait_for_timeout(5_000)  # the question about news comes after some seconds
        seen["toasts"] = page.locator(".jp-toast-message, .Toastify__toast").all_inner_texts()
        seen["dialogs"] = page.locator(".jp-Dialog").all_inner_texts()
        read(page, name)
        page.locator(".jp-BreadCrumbs-home").click()
        for folder in ("params", "presets.yaml"):
            page.locator(".jp-DirListing-item", has_text=re.compile(f"^{re.escape(folder)}")).first.dblclick()
        expect(page.locator(".jp-FileEditor:visible .cm-content")).to_contain_text("smoke:", timeout=PATIENCE)
        seen["elsewhere"] = [one for one in asked if not one.startswith((url[: url.index("/", 8)], "data:", "blob:"))]
        browser.close()
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
