"""What :mod:`synthlib.cql.agent_fast` does between its matrix products, in six steps, by PyTorch: for a GPU.

A step reads its first arguments and writes to the last ones, named in its docstring. :mod:`synthlib.cql.steps_fast`
has the same functions for a processor. Sizes: B states in a minibatch, of which a block has b; A the action width; N
sampled actions of each of three sources. Actions of a state stand in the order uniform, pi(s'), pi(s) (N each), the
data's, the policy's: 3N + 2 slots. Nothing is recorded for autograd.
"""

import math

import torch

from synthlib.cql.networks import LOG_STD_RANGE, log_density
from synthlib.kernels.products import through_relu_


def sample(outputs, multiplier, offset, policy, target, uniform, current, following, data, *written):
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


def add_relu_(x, y):
    """relu(x + y) in place of ``x`` (n b, H); ``y`` (b, H) is added n times."""
    x.view(-1, *y.shape).add_(y).relu_()


def learn_(hidden, bias, head, head_bias, log_densities, y, weight, temperature, batch_size, *written):
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


def back_through_add_relu_(output, learnt, *written):
    """The way back through :func:`add_relu_`, given its ``output`` (n b, H).

    Written: ``delta`` (n b, H), 0 where the output is not positive; ``sums`` (b, H), its sum over the repetitions among
    the first ``learnt`` rows.
    """
    delta, sums = written
    torch.ops.aten.threshold_backward.grad_input(delta, output, 0, grad_input=delta)
    torch.sum(delta[:learnt].view(-1, *sums.shape), dim=0, out=sums)


def give_head_(weight, bias, head, *written):
    """Finish a second layer's gradients, from which the factor ``head`` (H,) was left out, and write the head's.

    That is sum dQ h with h = ``weight`` x + ``bias`` where it is not zero, so it needs no product of its own.

    Written: ``weight_gradient`` (H, I), ``bias_gradient`` (H,), ``head_gradient`` (H,).
    """
    weight_gradient, bias_gradient, head_gradient = written
    torch.sum(weight * weight_gradient, dim=1, out=head_gradient).addcmul_(bias, bias_gradient)
    weight_gradient.mul_(head.unsqueeze(1))
    bias_gradient.mul_(head)


def policy_gradient(outputs, multiplier, offset, noise, action, alpha, q1, of_q1, q2, of_q2, *written):
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
