"""Attention with one head, computed with half as many products of tokens: shared by the fast twins of both networks.

With token i's normalised state h_i, a score is (h_i Q + q) (h_j K + k)^T, which is

    h_i (Q K^T) h_j^T + (q K^T) h_j^T + (terms of i alone, which the softmax does not see),

and what the attention adds to the residual stream is

    (sum_j p_ij (h_j V + v)) O + o = (sum_j p_ij h_j) (V O) + (sum_j p_ij) (v O) + o.

Q K^T and V O are products of weights, made once per update. They project each token twice, where Q, K, V, O do so four
times; keys and values are the tokens themselves. That saves a sixth of a layer's products, and where few tokens ask, as
in a Decision Transformer's last layer, nearly all of the attention's. The paper's networks have one head; with several,
queries and keys are narrower and nothing would be saved.
"""

import math
from typing import Any, NamedTuple

import torch

from synthlib.dt.dropout import Factors, dropped
from synthlib.kernels.products import affine


class MergedWeights(NamedTuple):
    """Of one attention: ``question`` (E, E) is Q K^T / sqrt(E) and ``question_bias`` (E,) is q K^T / sqrt(E);
    ``answer`` (E, E) is V O, ``value_bias`` (E,) v O, ``bias`` (E,) o."""

    question: torch.Tensor
    question_bias: torch.Tensor
    answer: torch.Tensor
    value_bias: torch.Tensor
    bias: torch.Tensor


def merged(attention: Any) -> MergedWeights:
    """:class:`MergedWeights` of an attention with GPT-2's names, ours or Hugging Face's; differentiable."""
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
    """What the attention adds to the residual stream of the tokens that ask: (B, W, E).

    ``weights`` are :class:`MergedWeights`; ``asking`` (B, W, E) are normalised states, the rest is as in :func:`mix`.
    """
    return answers(weights, *mix(questions(weights, asking), seen, bias, factors))


def questions(weights: MergedWeights, asking: torch.Tensor) -> torch.Tensor:
    """What is multiplied with the states that are seen: (B, W, E) -> (B, W, E)."""
    return affine(asking, weights.question, weights.question_bias)


def mix(
    queries: torch.Tensor,
    seen: torch.Tensor,
    bias: torch.Tensor,
    factors: Factors = None,
    values: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(mixed states (B, W, E), sums of the shares (B, W, 1), None where they are 1).

    ``seen`` (B, T, E) are normalised states; ``bias`` (B or 1, W, T) or (W, T) is added to the scores and hides what
    must not be seen, or (W, t) to those of the last t states; ``factors`` (B, W, T) are those of dropout. ``values``
    (B, T, E) are what is mixed, if not the states themselves.
    """
    scores = torch.bmm(queries, seen.transpose(1, 2))
    scores.detach()[..., -bias.shape[-1] :].add_(bias)  # a constant: nothing to be recorded, no copy of all scores
    shares = dropped(scores.softmax(dim=-1), factors)
    sums = None if factors is None else shares.sum(dim=2, keepdim=True)
    return torch.bmm(shares, seen if values is None else values), sums


def answers(weights: MergedWeights, mixed: torch.Tensor, sums: torch.Tensor | None) -> torch.Tensor:
    """What :func:`mix` gave, projected: (B, W, E)."""
    if sums is None:
        return affine(mixed, weights.answer, weights.value_bias + weights.bias)
    return torch.addcmul(affine(mixed, weights.answer, weights.bias), sums, weights.value_bias)
