"""Sphinx's settings for the book. `make book` calls it on the pages that synthlib.book has executed."""

import importlib.util
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATE = HERE.parents[1] / "web" / "template"  # what the book shares with the single pages
# Found and not imported: its name is no name of Python's, and as an extension of Sphinx it would copy everything.
MATHJAX = importlib.util.find_spec("sphinx-mathjax-offline").submodule_search_locations[0]

project = "Pre-training with synthetic data helps offline RL: a companion"
html_title = "Does synthetic pre-training help offline RL?"
language = "en"
extensions = ["myst_nb"]
exclude_patterns = []
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_prev_next": True,
    "navbar_persistent": [],  # the search stands in the side bar
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_static_path = [
    str(HERE / "static"),
    str(TEMPLATE / "wide.css"),
    str(TEMPLATE / "wide.js"),
    str(Path(MATHJAX) / "static" / "mathjax" / "tex-svg.js"),
]
html_css_files = ["wide.css", "book.css"]
html_js_files = ["wide.js"]
html_copy_source = False
html_show_search_summary = False  # for it the search would fetch pages, which a browser forbids to files
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
mathjax_path = "tex-svg.js"
