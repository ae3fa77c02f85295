"""What :mod:`synthlib.cql.agent_fast` does between its matrix products, in six steps.

A step reads its first arguments and writes to the last ones, which its docstring names. The definition in PyTorch comes
first; its kernel follows, compiled by Numba for a processor. PyTorch runs three to thirty operations for one kernel
(:mod:`synthlib.kernels.compiled` says what that costs): together a tenth of an update. To compile all six, at the first
update ever, takes five seconds. Nothing is recorded for autograd.

Sizes: B states in a minibatch, of which a block has b; A the action width; N sampled actions of each of three sources.
Actions of a state stand in the order uniform, pi(s'), pi(s) (N each), the data's, the policy's: 3N + 2 slots.

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
    """All actions of an update from the policy's ``outputs`` (2B, 2A) at s, then at s', and the update's noise.

    Written: ``actions`` (3N + 2, B, A), ``log_densities`` (3N, B) of the sampled ones, ``target_action`` (B, A) for the
    TD target, ``log_pi`` (B,) of the policy's own.
    """
    actions, log_densities, target_action, log_pi = written
    size, n = len(data), uniform.shape[1]
    mean, raw = outputs.chunk(2, dim=1)
    log_std = (multiplier * raw + offset).clamp(*LOG_STD_RANGE)
    std = log_std.exp()

    def squash(states, single, several):
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

    With e = exp(-2 |u|): tanh |u| = (1 - e) / (1 + e) and log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + e)). The
    logarithm of a product takes the place of the sum of logarithms; its factors lie between 1 and 2.
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
        of_x, of_y = x[row], y[row % len(y)]
        for j in range(len(of_x)):
            value = of_x[j] + of_y[j]
            of_x[j] = zero if value <= 0 else value


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
    """From a critic's last product up to Q and its loss, and back to there.

    ``hidden`` ((3N + 2) b, H) is the second hidden layer before ``bias`` (H,) and ReLU; the head, (H,) and (1,), gives
    Q. The sampled actions, with ``log_densities`` (3N, b), and the data's have the conservative loss, of ``weight`` and
    ``temperature``, the data's also that of TD with target ``y`` (b,). What comes back for the policy's action is the
    gradient of Q itself.

    Written: ``hidden`` becomes the gradient below the head, but without the factor head: dQ where hidden + bias is
    positive, else 0. ``q_of_policy`` (b,) is Q of the policy's action. Added to: ``losses`` (6,), which are TD and
    conservative loss and the mean Q of the data's and the three kinds of sampled actions; ``bias_gradient`` (H,),
    without the factor head as well; ``head_bias_gradient`` (1,).
    """
    q_of_policy, losses, bias_gradient, head_bias_gradient = written
    q = torch.addmv(head_bias, hidden.add_(bias).relu_(), head).view(-1, len(y))
    q_of_policy.copy_(q[-1])
    dq, of_data, of_sources = torch.ones_like(q), q[-2], q[:-2].unflatten(0, (3, -1))
    sampled, error = (q[:-2] - log_densities) / temperature, of_data - y
    torch.softmax(sampled, dim=0, out=dq[:-2]).mul_(weight / batch_size)
    torch.sub(error, weight / 2, out=dq[-2]).mul_(2 / batch_size)
    conservative = weight * (temperature * torch.logsumexp(sampled, dim=0) - of_data)
    of_states = torch.stack([error.square(), conservative, of_data, *of_sources.mean(dim=1)])
    losses.add_(of_states.sum(dim=1) / batch_size)
    # The conservative loss leaves the head's bias alone: it pushes down by as much as it pushes up.
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
        of_hidden, of_row = hidden[row], dq[row // size, row % size]
        for j in range(len(bias)):
            of_hidden[j] = zero if of_hidden[j] + bias[j] <= 0 else of_row
        if row < len(hidden) - size:
            for j in range(len(bias)):
                bias_gradient[j] += of_hidden[j]


@jit
def _read_q(hidden, bias, head, head_bias, size):
    """Q ((3N + 2), b) of ``size`` = b states."""
    q, zero = np.empty((len(hidden) // size, size), hidden.dtype), hidden.dtype.type(0)
    for row in range(len(hidden)):
        of_hidden, total = hidden[row], zero
        for j in range(len(head)):
            value = of_hidden[j] + bias[j]
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
        of_data = q[sampled, i]
        error = of_data - y[i]
        dq[sampled, i] = (2 * error - weight) / batch_size
        dq[sampled + 1, i] = 1
        errors += error
        sums[0] += error * error
        sums[1] += weight * (temperature * (highest + np.log(total)) - of_data)
        sums[2] += of_data
    for n in range(len(losses)):
        losses[n] += sums[n] / batch_size
    head_bias_gradient[0] += 2 * errors / batch_size
    return dq


@step
def back_through_add_relu_(output: Tensor, learnt: int, *written: Tensor) -> None:
    """The way back through :func:`add_relu_`, given its ``output`` (n b, H).

    Written: ``delta`` (n b, H), 0 where the output is not positive; ``sums`` (b, H), its sum over the repetitions among
    the first ``learnt`` rows.
    """
    delta, sums = written
    torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=delta)
    torch.sum(delta[:learnt].view(-1, *sums.shape), dim=0, out=sums)


@back_through_add_relu_.kernel
def _(output, learnt, *written):
    delta, sums = written
    zero = delta.dtype.type(0)
    sums[:] = zero
    # From the end: that is what the product before this left in the cache. A chunk at a time, because the processor
    # fetches ahead only where addresses rise.
    for end in range(len(delta), 0, -CHUNK):
        for row in range(max(end - CHUNK, 0), end):
            of_delta, of_output, of_sums = delta[row], output[row], sums[row % len(sums)]
            for j in range(len(of_delta)):
                of_delta[j] = zero if of_output[j] <= 0 else of_delta[j]
            if row < learnt:
                for j in range(len(of_delta)):
                    of_sums[j] += of_delta[j]


@step
def give_head_(weight: Tensor, bias: Tensor, head: Tensor, *written: Tensor) -> None:
    """Finish a second layer's gradients, from which the factor ``head`` (H,) was left out, and write the head's.

    That is sum dQ h with h = ``weight`` x + ``bias`` where it is not zero, so it needs no product of its own.

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
        of_weight, of_gradient, factor = weight[row], weight_gradient[row], head[row]
        total = bias[row] * bias_gradient[row]
        for j in range(len(of_weight)):
            total += of_weight[j] * of_gradient[j]
            of_gradient[j] *= factor
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
    of_q1: Tensor,
    q2: Tensor,
    of_q2: Tensor,
    *written: Tensor,
) -> None:
    """The gradient of the policy loss for the policy's ``outputs`` (B, 2A) at s, which gave ``action`` (B, A).

    ``q1``, ``q2`` (B,) are both critics' Q of it, ``of_q1``, ``of_q2`` (B, A) their gradients for it. The policy climbs
    the smaller one, half of each where they are equal, as autograd has it. With u = mu + sigma eps, a = tanh(u):
    d log pi / du = 2 a and d log pi / d log sigma = 2 a sigma eps - 1.

    Written: ``gradient`` (B, 2A), ``multiplier_gradient`` and ``offset_gradient`` ().
    """
    gradient, multiplier_gradient, offset_gradient = written
    size, width = action.shape
    raw = outputs[:, width:]
    unclamped = multiplier * raw + offset
    lowest, highest = LOG_STD_RANGE
    share_2 = torch.heaviside(q1 - q2, torch.full_like(alpha, 0.5)).unsqueeze(1)
    of_q = torch.lerp(of_q1, of_q2, share_2)
    d_mean = (2 * alpha * action - of_q * (1 - action.square())) / size
    d_log_std = d_mean * unclamped.clamp(lowest, highest).exp() * noise - alpha / size
    d_log_std *= (unclamped >= lowest) & (unclamped <= highest)
    torch.cat([d_mean, d_log_std * multiplier], dim=1, out=gradient)
    multiplier_gradient.copy_((d_log_std * raw).sum())
    offset_gradient.copy_(d_log_std.sum())


@policy_gradient.kernel
def _(outputs, multiplier, offset, noise, action, alpha, q1, of_q1, q2, of_q2, *written):
    gradient, multiplier_gradient, offset_gradient = written
    size, width = action.shape
    of_multiplier, of_offset, temperature = 0.0, 0.0, alpha[()]
    for i in range(size):
        share_2 = 0.5 if q1[i] == q2[i] else 1.0 if q1[i] > q2[i] else 0.0
        for k in range(width):
            raw, a = outputs[i, width + k], action[i, k]
            log_std = multiplier[()] * raw + offset[()]
            of_q = of_q1[i, k] + share_2 * (of_q2[i, k] - of_q1[i, k])
            d_mean = (2 * temperature * a - of_q * (1 - a * a)) / size
            d_log_std = d_mean * np.exp(log_std) * noise[i, k] - temperature / size
            if log_std < LOWEST or log_std > HIGHEST:
                d_log_std = 0 * d_mean  # which NaN survives
            gradient[i, k] = d_mean
            gradient[i, width + k] = d_log_std * multiplier[()]
            of_multiplier += d_log_std * raw
            of_offset += d_log_std
    multiplier_gradient[()], offset_gradient[()] = of_multiplier, of_offset
