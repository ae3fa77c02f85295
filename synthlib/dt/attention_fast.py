"""Attention with one head in half as many matrix products per token; the fast twins of both networks use it.

Let h_i be the normalised state of token i. The attention score of tokens i and j is (h_i Q + q) (h_j K + k)^T, which is

    h_i (Q K^T) h_j^T + (q K^T) h_j^T + (terms that depend on i alone, which cancel in the softmax).

With the attention weights p_ij, the attention adds to the residual stream

    (sum_j p_ij (h_j V + v)) O + o = (sum_j p_ij h_j) (V O) + (sum_j p_ij) (v O) + o.

Q K^T and V O are products of weights, computed once per update. With them each token has two projections, not four by
Q, K, V and O; the states themselves serve as keys and values. This saves a sixth of a layer's matrix products. Where
few tokens have queries, as in the last layer of a Decision Transformer, it saves nearly all projections of the
attention. The paper's networks have one head. With several heads, queries and keys would be narrower than the states,
and nothing would be saved.
"""

import math
from typing import Any, NamedTuple

import torch

from synthlib.dt.dropout import Factors, dropped
from synthlib.kernels.products import affine


class MergedWeights(NamedTuple):
    """The merged weights of one attention layer.

    ``question`` (E, E) is Q K^T / sqrt(E), ``question_bias`` (E,) is q K^T / sqrt(E), ``answer`` (E, E) is V O,
    ``value_bias`` (E,) is v O, and ``bias`` (E,) is o.
    """

    question: torch.Tensor
    question_bias: torch.Tensor
    answer: torch.Tensor
    value_bias: torch.Tensor
    bias: torch.Tensor


def merged(attention: Any) -> MergedWeights:
    """:class:`MergedWeights` of ``attention``, which has GPT-2's parameter names (ours or Hugging Face's).

    Gradients flow through the result to the parameters.
    """
    weight, bias = attention.c_attn.weight, attention.c_attn.bias
    width = weight.shape[0]
    (query, key, value), (query_bias, _, value_bias) = weight.split(width, dim=1), bias.split(width)
    scaled_key = key.t() / math.sqrt(width)
    output = attention.c_proj
    return MergedWeights(
        question=query @ scaled_key,
        question_bias=query_bias @ scaled_key,
        answer=value @ output.weight,
        value_bias=value_bias @ output.weight,
        bias=output.bias,
    )


def attend(
    weights: MergedWeights, asking: torch.Tensor, seen: torch.Tensor, bias: torch.Tensor, factors: Factors = None
) -> torch.Tensor:
    """What the attention layer adds to the residual stream of W tokens, (B, W, E).

    ``asking`` (B, W, E) are the normalised states of these W tokens. The other arguments are as in :func:`mix`.
    """
    return answers(weights, *mix(questions(weights, asking), seen, bias, factors))


def questions(weights: MergedWeights, asking: torch.Tensor) -> torch.Tensor:
    """Queries of the normalised states ``asking``; a dot product with a state is a score. (B, W, E) -> (B, W, E)."""
    return affine(asking, weights.question, weights.question_bias)


def mix(
    queries: torch.Tensor,
    seen: torch.Tensor,
    bias: torch.Tensor,
    factors: Factors = None,
    values: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(states averaged by attention weights (B, W, E), sums of the attention weights (B, W, 1) or None).

    ``queries`` (B, W, E) come from :func:`questions`; ``seen`` (B, T, E) are the normalised states that they attend to.
    ``bias`` is added to the scores and hides tokens: (W, T), or (B or 1, W, T), or (W, t) for the last t states only.
    ``factors`` (B, W, T) are dropout factors. ``values`` (B, T, E) are averaged instead of ``seen`` if given. The sums
    are None without dropout, where they are 1.
    """
    scores = torch.bmm(queries, seen.transpose(1, 2))
    # The bias is a constant. In place and detached, autograd records nothing and the scores are not copied.
    scores.detach()[..., -bias.shape[-1] :].add_(bias)
    shares = dropped(scores.softmax(dim=-1), factors)
    sums = None if factors is None else shares.sum(dim=2, keepdim=True)
    return torch.bmm(shares, seen if values is None else values), sums


def answers(weights: MergedWeights, mixed: torch.Tensor, sums: torch.Tensor | None) -> torch.Tensor:
    """The output projection of the two results of :func:`mix`: (B, W, E)."""
    if sums is None:
        return affine(mixed, weights.answer, weights.value_bias + weights.bias)
    return torch.addcmul(affine(mixed, weights.answer, weights.bias), sums, weights.value_bias)
