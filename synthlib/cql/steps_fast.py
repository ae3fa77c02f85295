"""The work of :mod:`synthlib.cql.agent_fast` between its matrix products, in six steps.

A step reads its first arguments and writes to its last arguments, which its docstring names. The definition in PyTorch
comes first. Its kernel follows, which Numba compiles for the processor. PyTorch runs three to thirty operations for one
kernel (:mod:`synthlib.kernels.compiled` says why this is slow): in all a tenth of an update. At the first update ever,
the compilation of all six kernels takes five seconds. Nothing is recorded for autograd.

Sizes: B states in a minibatch, b states in a block; A the action width; N sampled actions from each of three sources.
The 3N + 2 actions of a state stand in this order: uniform, pi(s'), pi(s) (N each), the data's action, the policy's.

NaN stays NaN in both versions, as with PyTorch's ReLU: a run that has diverged must not look healthy.
"""

import math

import numpy as np
import torch
from torch import Tensor

from synthlib.cql.networks import LOG_STD_RANGE, log_density
from synthlib.kernels.compiled import jit
from synthlib.kernels.products import through_relu_
from synthlib.kernels.twins import step

LOWEST, HIGHEST = LOG_STD_RANGE
NORMALISER = 0.5 * math.log(2 * math.pi) + 2 * math.log(2)
CHUNK = 32


@step
def sample(
    outputs: Tensor,
    multiplier: Tensor,
    offset: Tensor,
    policy: Tensor,
    target: Tensor,
    uniform: Tensor,
    current: Tensor,
    following: Tensor,
    data: Tensor,
    *written: Tensor,
) -> None:
    """All actions of an update, from the policy's ``outputs`` (2B, 2A) at s, then at s', and the update's noise.

    Written: ``actions`` (3N + 2, B, A), ``log_densities`` (3N, B) of the sampled actions, ``target_action`` (B, A) for
    the TD target, ``log_pi`` (B,) of the policy's actions.
    """
    actions, log_densities, target_action, log_pi = written
    size, n = len(data), uniform.shape[1]
    mean, raw = outputs.chunk(2, dim=1)
    log_std = (multiplier * raw + offset).clamp(*LOG_STD_RANGE)
    std = log_std.exp()

    def squash(states: slice, single: Tensor, several: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.cat([single[None], several.transpose(0, 1)])
        before_tanh = torch.addcmul(mean[states], std[states], noise)
        return before_tanh.tanh(), log_density(noise, log_std[states], before_tanh)

    current_actions, current_log_pi = squash(slice(size), policy, current)
    next_actions, next_log_pi = squash(slice(size, None), target, following)
    sources = uniform.transpose(0, 1), next_actions[1:], current_actions[1:], data[None], current_actions[:1]
    torch.cat(sources, out=actions)
    log_densities[:n] = actions.shape[2] * math.log(0.5)
    log_densities[n : 2 * n], log_densities[2 * n :] = next_log_pi[1:], current_log_pi[1:]
    target_action.copy_(next_actions[0])
    log_pi.copy_(current_log_pi[0])


@sample.kernel
def _(outputs, multiplier, offset, policy, target, uniform, current, following, data, *written):
    actions, log_densities, target_action, log_pi = written
    size, width = data.shape
    n = uniform.shape[1]
    log_std = np.empty((2 * size, width), outputs.dtype)
    for row in range(2 * size):
        for k in range(width):
            value = multiplier[()] * outputs[row, width + k] + offset[()]
            log_std[row, k] = LOWEST if value < LOWEST else HIGHEST if value > HIGHEST else value
    at = outputs, log_std, np.exp(log_std)
    policy, target = np.expand_dims(policy, 1), np.expand_dims(target, 1)
    for i in range(size):
        for m in range(n):
            log_densities[m, i] = -width * math.log(2)
            log_densities[n + m, i] = _squash(at, size + i, following, i, m, actions, n + m)
            log_densities[2 * n + m, i] = _squash(at, i, current, i, m, actions, 2 * n + m)
            for k in range(width):
                actions[m, i, k] = uniform[i, m, k]
        for k in range(width):
            actions[3 * n, i, k] = data[i, k]
        log_pi[i] = _squash(at, i, policy, i, 0, actions, 3 * n + 1)
        _squash(at, size + i, target, i, 0, np.expand_dims(target_action, 0), 0)


@jit
def _squash(at, row, noise, i, m, actions, slot):
    """Write ``actions[slot, i]`` = tanh(u), u = mu + sigma ``noise[i, m]``; returns its log density.

    With e = exp(-2 |u|): tanh |u| = (1 - e) / (1 + e) and log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + e)). One
    logarithm of a product replaces the sum of the logarithms log(1 + e); the factors lie between 1 and 2.
    """
    mean, log_std, std = at
    one, two, half = std.dtype.type(1), std.dtype.type(2), std.dtype.type(0.5)
    total, product = std.dtype.type(0), 1.0
    for k in range(std.shape[1]):
        noise_k = noise[i, m, k]
        u = mean[row, k] + std[row, k] * noise_k
        size = abs(u)
        e = np.exp(-two * size)
        action = (one - e) / (one + e)
        actions[slot, i, k] = action if u >= 0 else -action
        total += two * size - log_std[row, k] - half * noise_k * noise_k
        product *= one + e
    return total + two * np.log(product) - NORMALISER * std.shape[1]


@step
def add_relu_(x: Tensor, y: Tensor) -> None:
    """relu(x + y) in place of ``x`` (n b, H); ``y`` (b, H) is added n times."""
    x.view(-1, *y.shape).add_(y).relu_()


@add_relu_.kernel
def _(x, y):
    zero = x.dtype.type(0)
    for row in range(len(x)):
        x_row, y_row = x[row], y[row % len(y)]
        for j in range(len(x_row)):
            value = x_row[j] + y_row[j]
            x_row[j] = zero if value <= 0 else value


@step
def learn_(
    hidden: Tensor,
    bias: Tensor,
    head: Tensor,
    head_bias: Tensor,
    log_densities: Tensor,
    y: Tensor,
    weight: float,
    temperature: float,
    batch_size: int,
    *written: Tensor,
) -> None:
    """The end of a critic's forward pass, from the second hidden layer to Q and its losses, and its backward pass.

    ``hidden`` ((3N + 2) b, H) is the second hidden layer before ``bias`` (H,) and ReLU. ``head`` (H,) and ``head_bias``
    (1,) give Q. The conservative loss, with ``weight`` and ``temperature``, is taken over the sampled actions, with
    ``log_densities`` (3N, b), and the data's action. The TD loss, with target ``y`` (b,), is taken over the data's
    action. For the policy's action, the backward pass computes the gradient of Q itself.

    Written: ``hidden`` becomes the gradient below the head, but without the factor head: dQ where hidden + bias is
    positive, else 0. ``q_of_policy`` (b,) becomes Q of the policy's action.

    Added to: ``losses`` (6,): the TD loss, the conservative loss, and the mean Q of the data's action and of the three
    kinds of sampled actions; ``bias_gradient`` (H,), also without the factor head; ``head_bias_gradient`` (1,).
    """
    q_of_policy, losses, bias_gradient, head_bias_gradient = written
    q = torch.addmv(head_bias, hidden.add_(bias).relu_(), head).view(-1, len(y))
    q_of_policy.copy_(q[-1])
    dq, data_q, source_q = torch.ones_like(q), q[-2], q[:-2].unflatten(0, (3, -1))
    sampled, error = (q[:-2] - log_densities) / temperature, data_q - y
    torch.softmax(sampled, dim=0, out=dq[:-2]).mul_(weight / batch_size)
    torch.sub(error, weight / 2, out=dq[-2]).mul_(2 / batch_size)
    conservative = weight * (temperature * torch.logsumexp(sampled, dim=0) - data_q)
    per_state = torch.stack([error.square(), conservative, data_q, *source_q.mean(dim=1)])
    losses.add_(per_state.sum(dim=1) / batch_size)
    # The conservative loss gives the head's bias no gradient: it pushes down by as much as it pushes up.
    head_bias_gradient.add_(2 * error.sum() / batch_size)
    through_relu_(dq.view(-1, 1).expand_as(hidden), hidden)
    bias_gradient.add_(hidden[: -len(y)].sum(dim=0))


@learn_.kernel
def _(hidden, bias, head, head_bias, log_densities, y, weight, temperature, batch_size, *written):
    q_of_policy, losses, bias_gradient, head_bias_gradient = written
    size = len(y)
    q = _read_q(hidden, bias, head, head_bias, size)
    q_of_policy[:] = q[-1]
    dq = _differentiate_loss(q, log_densities, y, weight, temperature, batch_size, losses, head_bias_gradient)
    zero = hidden.dtype.type(0)
    for row in range(len(hidden)):
        hidden_row, row_dq = hidden[row], dq[row // size, row % size]
        for j in range(len(bias)):
            hidden_row[j] = zero if hidden_row[j] + bias[j] <= 0 else row_dq
        if row < len(hidden) - size:
            for j in range(len(bias)):
                bias_gradient[j] += hidden_row[j]


@jit
def _read_q(hidden, bias, head, head_bias, size):
    """Q ((3N + 2), b) of ``size`` = b states."""
    q, zero = np.empty((len(hidden) // size, size), hidden.dtype), hidden.dtype.type(0)
    for row in range(len(hidden)):
        hidden_row, total = hidden[row], zero
        for j in range(len(head)):
            value = hidden_row[j] + bias[j]
            total += head[j] * (zero if value <= 0 else value)
        q[row // size, row % size] = total + head_bias[0]
    return q


@jit
def _differentiate_loss(q, log_densities, y, weight, temperature, batch_size, losses, head_bias_gradient):
    """Returns dQ (3N + 2, b)."""
    sampled = len(log_densities)
    dq, errors, sums = np.empty_like(q), 0.0, np.zeros(len(losses))
    for i in range(len(y)):
        highest, total = -np.inf, 0.0
        for k in range(sampled):
            dq[k, i] = (q[k, i] - log_densities[k, i]) / temperature
            highest = max(highest, dq[k, i])
            sums[3 + 3 * k // sampled] += 3 * q[k, i] / sampled
        for k in range(sampled):
            dq[k, i] = np.exp(dq[k, i] - highest)
            total += dq[k, i]
        for k in range(sampled):
            dq[k, i] *= weight / (batch_size * total)
        data_q = q[sampled, i]
        error = data_q - y[i]
        dq[sampled, i] = (2 * error - weight) / batch_size
        dq[sampled + 1, i] = 1
        errors += error
        sums[0] += error * error
        sums[1] += weight * (temperature * (highest + np.log(total)) - data_q)
        sums[2] += data_q
    for n in range(len(losses)):
        losses[n] += sums[n] / batch_size
    head_bias_gradient[0] += 2 * errors / batch_size
    return dq


@step
def back_through_add_relu_(output: Tensor, learnt: int, *written: Tensor) -> None:
    """The backward pass through :func:`add_relu_`, whose result was ``output`` (n b, H).

    Written: ``delta`` (n b, H) becomes 0 where ``output`` is not positive; ``sums`` (b, H) becomes the sum of the first
    ``learnt`` rows of ``delta`` over the repetitions of ``y``.
    """
    delta, sums = written
    torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=delta)
    torch.sum(delta[:learnt].view(-1, *sums.shape), dim=0, out=sums)


@back_through_add_relu_.kernel
def _(output, learnt, *written):
    delta, sums = written
    zero = delta.dtype.type(0)
    sums[:] = zero
    # From the end, because the matrix product before this step left the last rows in the cache. In chunks, because the
    # processor prefetches only at increasing addresses.
    for end in range(len(delta), 0, -CHUNK):
        for row in range(max(end - CHUNK, 0), end):
            delta_row, output_row, sums_row = delta[row], output[row], sums[row % len(sums)]
            for j in range(len(delta_row)):
                delta_row[j] = zero if output_row[j] <= 0 else delta_row[j]
            if row < learnt:
                for j in range(len(delta_row)):
                    sums_row[j] += delta_row[j]


@step
def give_head_(weight: Tensor, bias: Tensor, head: Tensor, *written: Tensor) -> None:
    """Multiply the second layer's gradients by the missing factor ``head`` (H,), and write the head's gradient.

    The head's gradient is sum dQ h. Where h is not zero, h = ``weight`` x + ``bias``. So the sum follows from the
    second layer's gradients, without another matrix product.

    Written: ``weight_gradient`` (H, I), ``bias_gradient`` (H,), ``head_gradient`` (H,).
    """
    weight_gradient, bias_gradient, head_gradient = written
    torch.sum(weight * weight_gradient, dim=1, out=head_gradient).addcmul_(bias, bias_gradient)
    weight_gradient.mul_(head.unsqueeze(1))
    bias_gradient.mul_(head)


@give_head_.kernel
def _(weight, bias, head, *written):
    weight_gradient, bias_gradient, head_gradient = written
    for row in range(len(head)):
        weight_row, gradient_row, factor = weight[row], weight_gradient[row], head[row]
        total = bias[row] * bias_gradient[row]
        for j in range(len(weight_row)):
            total += weight_row[j] * gradient_row[j]
            gradient_row[j] *= factor
        head_gradient[row] = total
        bias_gradient[row] *= factor


@step
def policy_gradient(
    outputs: Tensor,
    multiplier: Tensor,
    offset: Tensor,
    noise: Tensor,
    action: Tensor,
    alpha: Tensor,
    q1: Tensor,
    q1_gradient: Tensor,
    q2: Tensor,
    q2_gradient: Tensor,
    *written: Tensor,
) -> None:
    """The gradient of the policy loss with respect to the policy's ``outputs`` (B, 2A) at s.

    ``action`` (B, A) is the policy's action from these outputs. ``q1``, ``q2`` (B,) are both critics' Q of ``action``;
    ``q1_gradient``, ``q2_gradient`` (B, A) are their gradients with respect to it. The smaller Q counts; where both are
    equal, half of each counts, as in autograd. With u = mu + sigma eps, a = tanh(u): d log pi / du = 2 a and
    d log pi / d log sigma = 2 a sigma eps - 1.

    Written: ``gradient`` (B, 2A), ``multiplier_gradient`` and ``offset_gradient`` ().
    """
    gradient, multiplier_gradient, offset_gradient = written
    size, width = action.shape
    raw = outputs[:, width:]
    unclamped = multiplier * raw + offset
    lowest, highest = LOG_STD_RANGE
    share_2 = torch.heaviside(q1 - q2, torch.full_like(alpha, 0.5)).unsqueeze(1)
    q_gradient = torch.lerp(q1_gradient, q2_gradient, share_2)
    d_mean = (2 * alpha * action - q_gradient * (1 - action.square())) / size
    d_log_std = d_mean * unclamped.clamp(lowest, highest).exp() * noise - alpha / size
    d_log_std *= (unclamped >= lowest) & (unclamped <= highest)
    torch.cat([d_mean, d_log_std * multiplier], dim=1, out=gradient)
    multiplier_gradient.copy_((d_log_std * raw).sum())
    offset_gradient.copy_(d_log_std.sum())


@policy_gradient.kernel
def _(outputs, multiplier, offset, noise, action, alpha, q1, q1_gradient, q2, q2_gradient, *written):
    gradient, multiplier_gradient, offset_gradient = written
    size, width = action.shape
    multiplier_sum, offset_sum, temperature = 0.0, 0.0, alpha[()]
    for i in range(size):
        share_2 = 0.5 if q1[i] == q2[i] else 1.0 if q1[i] > q2[i] else 0.0
        for k in range(width):
            raw, a = outputs[i, width + k], action[i, k]
            log_std = multiplier[()] * raw + offset[()]
            q_gradient = q1_gradient[i, k] + share_2 * (q2_gradient[i, k] - q1_gradient[i, k])
            d_mean = (2 * temperature * a - q_gradient * (1 - a * a)) / size
            d_log_std = d_mean * np.exp(log_std) * noise[i, k] - temperature / size
            if log_std < LOWEST or log_std > HIGHEST:
                d_log_std = 0 * d_mean  # not 0, so that NaN stays NaN
            gradient[i, k] = d_mean
            gradient[i, width + k] = d_log_std * multiplier[()]
            multiplier_sum += d_log_std * raw
            offset_sum += d_log_std
    multiplier_gradient[()], offset_gradient[()] = multiplier_sum, offset_sum
