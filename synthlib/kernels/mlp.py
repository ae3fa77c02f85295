"""Forward and backward pass of a small ReLU network, written by hand: nothing is recorded for autograd.

A network is a list of linear layers (:func:`linear_layers`) with a ReLU after each layer except the last. The backward
pass writes each gradient into the ``grad`` of its weight, where the optimiser reads it. So ``grad`` must exist
(:func:`synthlib.kernels.adam.flatten` makes it). The gradients equal autograd's up to rounding.
"""

from collections.abc import Sequence

import torch
from torch import nn

from synthlib.kernels.products import product, weight_gradient
from synthlib.kernels.twins import step


def linear_layers(*modules: nn.Module) -> list[nn.Linear]:
    """The linear layers of ``modules``, in order."""
    return [part for module in modules for part in module.modules() if isinstance(part, nn.Linear)]


def forward(layers: Sequence[nn.Linear], inputs: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs (R, O) of the last layer for ``inputs`` (R, I), and the activations that :func:`backward` needs.

    The activations are the inputs of all layers: ``inputs``, then each hidden layer after its ReLU.
    """
    *hidden, head = layers
    activations = [inputs]
    for layer in hidden:
        activations.append(product(activations[-1], layer.weight.t(), layer.bias, relu=True))
    return product(activations[-1], head.weight.t(), head.bias), activations


def backward(layers: Sequence[nn.Linear], activations: Sequence[torch.Tensor], delta: torch.Tensor) -> None:
    """Write the gradient of each weight into its ``grad``; ``delta`` (R, O) is the gradient with respect to the output.

    ``activations`` come from :func:`forward`.
    """
    torch.sum(delta, dim=0, out=layers[-1].bias.grad)
    for place in range(len(layers) - 1, 0, -1):
        weight_gradient(delta, activations[place], out=layers[place].weight.grad)
        delta = product(delta, layers[place].weight)
        back_through_relu_(delta, activations[place], layers[place - 1].bias.grad)
    weight_gradient(delta, activations[0], out=layers[0].weight.grad)


@step
def back_through_relu_(delta: torch.Tensor, output: torch.Tensor, sums: torch.Tensor) -> None:
    """The backward pass through a ReLU whose result was ``output`` (R, H).

    Written: ``delta`` (R, H) becomes 0 where ``output`` is not positive; ``sums`` (H,) becomes the sum of the new rows
    of ``delta``. Where ``output`` is NaN the gradient passes: a unit that has diverged must not look like a dead unit.
    """
    torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=delta)
    torch.sum(delta, dim=0, out=sums)


@back_through_relu_.kernel
def _(delta, output, sums):
    zero = delta.dtype.type(0)
    sums[:] = zero
    for row in range(len(delta)):
        delta_row, output_row = delta[row], output[row]
        for j in range(len(sums)):
            delta_row[j] = zero if output_row[j] <= 0 else delta_row[j]
            sums[j] += delta_row[j]


@step
def mean_squared_error_(predicted: torch.Tensor, wanted: torch.Tensor, loss: torch.Tensor) -> None:
    """The mean squared error over all entries of two (R, P) matrices, and its gradient.

    Written: ``loss`` () becomes the error; ``predicted`` becomes the gradient of the loss with respect to it.
    """
    error = predicted.sub_(wanted).view(-1)
    loss.copy_(torch.dot(error, error) / len(error))
    error.mul_(2 / len(error))


@mean_squared_error_.kernel
def _(predicted, wanted, loss):
    total, scale = 0.0, predicted.dtype.type(2 / predicted.size)
    for row in range(predicted.shape[0]):
        for k in range(predicted.shape[1]):
            error = predicted[row, k] - wanted[row, k]
            total += error * error
            predicted[row, k] = scale * error
    loss[()] = total / predicted.size
