"""Two switches of the Makefile: ``TRAIN=no`` turns trainings off, ``KEEP_POLICY=1`` keeps fine-tuned policies.

``TRAIN=no`` sets ``SYNTHLIB_TRAIN``. With it every page and every command shows what is finished, the published runs
among it, and starts no training. A kernel of Jupyter inherits it: ``make lab TRAIN=no``. ``KEEP_POLICY=1`` sets
``SYNTHLIB_KEEP_POLICY`` (:mod:`synthlib.runs.policies`).
"""

import os

from synthlib.errors import Failed

TRAIN = "SYNTHLIB_TRAIN"
KEEP_POLICY = "SYNTHLIB_KEEP_POLICY"


class TrainingIsOff(Failed):
    """Something that is wanted is not trained yet, and trainings are off; the message says what."""


def may_train() -> bool:
    """Whether trainings may be started; yes unless ``SYNTHLIB_TRAIN`` is "no". ValueError for another word."""
    word = os.environ.get(TRAIN) or "yes"
    if word not in ("yes", "no"):
        raise ValueError(f"TRAIN={word} is unknown; say TRAIN=no to train nothing, or leave it out")
    return word == "yes"


def keeps_policies() -> bool:
    """Whether fine-tuned policies are kept; no unless ``SYNTHLIB_KEEP_POLICY`` is "1". ValueError for another word."""
    word = os.environ.get(KEEP_POLICY) or "0"
    if word not in ("0", "1"):
        raise ValueError(f"KEEP_POLICY={word} is unknown; say KEEP_POLICY=1 to keep the policies, or leave it out")
    return word == "1"
