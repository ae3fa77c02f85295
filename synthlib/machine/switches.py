"""The switch that turns trainings off: ``TRAIN=no`` of the Makefile sets ``SYNTHLIB_TRAIN``.

With it every page and every command shows what is finished, the published runs among it, and starts no training. A
kernel of Jupyter inherits it: ``make lab TRAIN=no``.
"""

import os

from synthlib.errors import Failed

TRAIN = "SYNTHLIB_TRAIN"


class TrainingIsOff(Failed):
    """Something that is wanted is not trained yet, and trainings are off; the message says what."""


def may_train() -> bool:
    """Whether trainings may be started; yes unless ``SYNTHLIB_TRAIN`` is "no". ValueError for another word."""
    word = os.environ.get(TRAIN) or "yes"
    if word not in ("yes", "no"):
        raise ValueError(f"TRAIN={word} is unknown; say TRAIN=no to train nothing, or leave it out")
    return word == "yes"
