import torch

from synthlib.kernels.memory import META, Counted, Footprint, footprint


def test_tensors_count_while_they_live():
    weight = torch.nn.Parameter(torch.zeros(100, 100, device=META))  # made outside: does not count
    with Counted() as counted:
        x = torch.zeros(50, 100, device=META)
        view = x[:10]  # no memory of its own
        y = (x @ weight).relu()
        assert counted.now == 2 * 4 * 5000  # relu's input is not kept, its result is
        y.sum().backward()
        del view, y, x
        assert counted.now == 4 * 10_000  # the gradient
    assert counted.peak > 4 * (10_000 + 2 * 5000)


def test_a_run_takes_what_one_more_adds():
    shared = torch.zeros(1000, device=META)

    def column_of(runs):
        weights, moments = torch.zeros(runs, 10, device=META), torch.zeros(runs, 20, device=META)
        return lambda: (weights[:, None] * shared[None, :10, None]).sum() + moments.sum()

    found = footprint(weights=10, targets=0, column_of=column_of)
    assert found[:3] == (40, 80, 0)
    assert found.update >= 4 * 100
    assert str(Footprint(10**6, 2 * 10**6, 0, 5 * 10**6)) == "8 MB (weights 1 MB, moments 2 MB, update 5 MB)"
