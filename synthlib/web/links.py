"""Links of a single page: to the page that was made of another notebook, or in words how to make it.

A notebook links other notebooks. Beside a page in a folder of outputs there are none, and a browser shows no notebook.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from synthlib.paths import NOTEBOOKS, ROOT, outputs

_LINK = re.compile(r'<a href="([\w./-]+)\.(ipynb|md)(#[^"]*)?"[^>]*>(.*?)</a>', re.DOTALL)
_BOOK = ROOT / "build" / "book" / "html"


def working_links(html: str, folder: Path) -> str:
    """``html``, a page in ``folder``, with links that work there.

    A notebook's link leads to its page beside this one, among the other outputs, or in the book, whichever is found
    first. Where none is made, the first such place says which command makes it; a text says where it lies.
    """
    told: set[str] = set()

    def replaced(link: re.Match[str]) -> str:
        name, kind, anchor, words = link[1], link[2], link[3] or "", link[4]
        if found := next(_pages(Path(name), folder), None):
            return f'<a href="{os.path.relpath(found, folder)}{anchor}">{words}</a>'
        if name in told:
            return words
        told.add(name)
        where = f"make notebook-{name}" if kind == "ipynb" else f"{NOTEBOOKS.name}/{name}.md"
        return f"{words} (<code>{where}</code>)"

    return _LINK.sub(replaced, html)


def _pages(name: Path, folder: Path) -> Iterator[Path]:
    """The pages that were made of a notebook or a text, the preferred ones first."""
    beside, book = (place / f"{name}.html" for place in (folder, _BOOK))
    others = sorted(outputs().glob(f"*/*/{name.name}.html"), key=lambda page: page.stat().st_mtime, reverse=True)
    yield from (page for page in (beside, *others, book) if page.exists())
