"""The steps of :mod:`synthlib.cql.steps`, which says what they do, compiled by Numba: for a processor.

PyTorch runs three to thirty operations for one of them (:mod:`synthlib.kernels.compiled` says what that costs):
together a tenth of an update. To compile them all, at the first update ever, takes five seconds.

What is NaN stays NaN, as with PyTorch's ReLU: a run that has diverged must not look healthy.
"""

import math

import numpy as np

from synthlib.cql.networks import LOG_STD_RANGE
from synthlib.kernels.compiled import compile_step, jit

LOWEST, HIGHEST = LOG_STD_RANGE
NORMALISER = 0.5 * math.log(2 * math.pi) + 2 * math.log(2)
CHUNK = 32


@compile_step
def sample(outputs, multiplier, offset, policy, target, uniform, current, following, data, *written):
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


@compile_step
def add_relu_(x, y):
    zero = x.dtype.type(0)
    for row in range(len(x)):
        of_x, of_y = x[row], y[row % len(y)]
        for j in range(len(of_x)):
            value = of_x[j] + of_y[j]
            of_x[j] = zero if value <= 0 else value


@compile_step
def learn_(hidden, bias, head, head_bias, log_densities, y, weight, temperature, batch_size, *written):
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


@compile_step
def back_through_add_relu_(output, learnt, *written):
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


@compile_step
def give_head_(weight, bias, head, *written):
    weight_gradient, bias_gradient, head_gradient = written
    for row in range(len(head)):
        of_weight, of_gradient, factor = weight[row], weight_gradient[row], head[row]
        total = bias[row] * bias_gradient[row]
        for j in range(len(of_weight)):
            total += of_weight[j] * of_gradient[j]
            of_gradient[j] *= factor
        head_gradient[row] = total
        bias_gradient[row] *= factor


@compile_step
def policy_gradient(outputs, multiplier, offset, noise, action, alpha, q1, of_q1, q2, of_q2, *written):
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
