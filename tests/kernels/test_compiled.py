"""The compiled steps of small networks are PyTorch's operations, and keep NaN."""

import ast

import pytest
import torch
from torch.nn import functional as F

from synthlib.kernels import compiled


def matrices(dtype, *shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_way_back_through_a_relu(dtype):
    delta, output, sums = matrices(dtype, (13, 37), (13, 37), (37,))
    expected = torch.where(output > 0, delta, 0)
    compiled.back_through_relu_(delta, output.relu(), sums)
    torch.testing.assert_close(delta, expected, rtol=0, atol=0)
    torch.testing.assert_close(sums, expected.sum(dim=0))
    delta[3, 5] = torch.nan
    compiled.back_through_relu_(delta, torch.ones_like(delta), sums)
    assert sums.isnan().nonzero().tolist() == [[5]]
    compiled.back_through_relu_(torch.ones_like(delta), delta, sums)
    assert sums[5] == (delta[:, 5] > 0).sum() + 1  # NaN lets the gradient through: it must not look like a dead unit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_squared_error_and_its_gradient(dtype):
    predicted, wanted = matrices(dtype, (13, 7), (13, 7))
    leaf = predicted.clone().requires_grad_()
    loss = F.mse_loss(leaf, wanted)
    assert compiled.mean_squared_error_(predicted, wanted) == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(predicted, *torch.autograd.grad(loss, leaf))
    wanted[2, 2] = torch.nan
    assert compiled.mean_squared_error_(predicted, wanted) != compiled.mean_squared_error_(predicted, wanted)
    assert predicted.isnan().sum() == 1


def test_what_is_kept_on_disk_depends_on_every_file_that_it_is_made_of():
    """Numba looks at the file of a function alone; a constant or a function of another file would be that of old."""
    decorated = []
    for path in compiled.HERE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        ours = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "synthlib" in node.module]
        names = {node.module: {alias.name for alias in node.names} for node in ours}
        if names.get(compiled.__name__, set()) & {"exact", "jit", "compile_step"}:
            decorated.append(str(path.relative_to(compiled.HERE).with_suffix("")))
            read = {f"{module}.{name}" for module, taken in names.items() for name in taken} | names.keys()
            files = {module.removeprefix("synthlib.").replace(".", "/") for module in read}
            files = {name for name in files if (compiled.HERE / f"{name}.py").exists()}
            assert files <= set(compiled.SOURCES), path
    assert len(decorated) >= 4 and set(decorated) <= set(compiled.SOURCES)
    assert compiled.cache_folder(["a", "b"]) != compiled.cache_folder(["a", "c"])


def test_machine_code_goes_where_the_user_says(monkeypatch, tmp_path):
    assert compiled.cache_folder(["a"]).parent == compiled.HERE / "__pycache__"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert compiled.cache_folder(["a"]).parent == tmp_path
