"""A computation recorded once on a GPU and replayed as one call (a CUDA graph).

An update of small networks is hundreds of kernels of microseconds each. Asked for one by one, they leave a GPU idle.
"""

from collections.abc import Callable, Sequence

import torch

_WARM_UP = 3  # PyTorch's libraries set themselves up in the first calls, which must not be recorded


def captured(step: Callable[[], None], state: Sequence[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """A function that does what ``step`` does: its replay on a GPU, and ``step`` itself on a processor.

    ``state`` are all tensors that ``step`` changes in place; they have their present values again when this returns.
    ``step`` must read and write the same memory in every call, and never wait for the device.
    """
    if device.type != "cuda":
        return step
    before = [tensor.detach().clone() for tensor in state]
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UP):
            step()
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    with torch.no_grad():
        for tensor, value in zip(state, before, strict=True):
            tensor.copy_(value)
    return graph.replay
