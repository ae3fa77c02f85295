"""The memory that a computation takes, counted from the shapes of its tensors, on a device without numbers.

So what many runs on a GPU will take is known before there is a GPU. Not counted are the working memory of libraries and
what an allocator rounds up.
"""

import gc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
# It lacks the form of Adam's fused kernel whose learning rate is on the device. The kernel only writes in place.
_ADAM = torch.library.Library("aten", "IMPL", "Meta")
_ADAM.impl("_fused_adamw_.tensor_lr", lambda *arguments, **options: None)


class Footprint(NamedTuple):
    """Bytes of a GPU's memory that one more run of a column takes.

    ``update`` is what an update takes beside weights, Adam's moments and targets: activations, gradients, noise.
    ``data`` are the data of the run, where it does not share them with the column's other runs.
    """

    weights: int
    moments: int
    targets: int
    update: int
    data: int = 0

    @property
    def total(self) -> int:
        """All bytes of a run."""
        return sum(self)

    def __str__(self) -> str:
        parts = zip(self._fields, self, strict=True)
        held = ", ".join(f"{name} {megabytes(size)}" for name, size in parts if size)
        return f"{megabytes(self.total)} ({held})"


def megabytes(size: float) -> str:
    """``size`` in bytes, in words."""
    return f"{size / 1e6:.3g} MB" if size < 1e9 else f"{size / 1e9:.3g} GB"


def footprint(
    weights: int, targets: int, column_of: Callable[[int], Callable[[], Any]], runs: tuple[int, int] = (2, 4)
) -> Footprint:
    """The :class:`Footprint` of a run with ``weights`` trained numbers and ``targets`` others, of float32.

    ``column_of(n)`` makes n runs on :data:`META` and returns their update. Two sizes tell what one more run takes.
    """
    peaks = []
    for count in runs:
        with Counted() as counted:
            update = column_of(count)
            for _ in range(2):  # gradients of the first update may be there in the second
                update()
        peaks.append(counted.peak)
        del update
    more = (peaks[1] - peaks[0]) / (runs[1] - runs[0])
    held = 4 * weights, 8 * weights, 4 * targets
    return Footprint(*held, update=round(more) - sum(held))


class Counted(TorchDispatchMode):
    """A context that counts the bytes of the tensors made in it: those alive at ``now``, and the most at a time."""

    def __init__(self) -> None:
        super().__init__()
        gc.collect()  # what others left behind must not end while this counts
        self.now = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and leaf.device == META:
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        name = storage._cdata
        if name in self._known:
            return
        size = storage.nbytes()

        def ended(_: Any) -> None:
            del self._known[name]
            self.now -= size

        self._known[name] = weakref.ref(storage, ended)
        self.now += size
        self.peak = max(self.peak, self.now)
