"""The book: every page executed from published runs, with a front page, as the source of a static site (``make book``).

contents.py   which pages, from which runs     settings/book.yaml
pages.py      executes them, trains nothing
front.py      the finding in five sentences, the ladder, the scoreboard and the map
site.py       writes the files that Sphinx reads (settings/conf.py), in an environment of its own
"""
