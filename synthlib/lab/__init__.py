"""``make lab``: JupyterLab on copies of the pages, so that what a reader writes there never stands in git's way.

copies.py     the copies, and what happens to them when a page of the repository changes
settings/     what JupyterLab does otherwise than by itself: no news, texts are shown and not edited
"""
