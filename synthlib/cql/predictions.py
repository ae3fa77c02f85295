"""What a pre-trained critic predicts for pairs of a synthetic state and action (paper 4.3)."""

from collections.abc import Mapping

import numpy as np
import torch

from synthlib.cql.networks import QNetwork, copy_weights
from synthlib.cql.pretraining import CriticPretrainingConfig
from synthlib.generators.mdp import MDPConfig, prediction_width, vectors

_AT_ONCE = 2**15  # pairs; a hidden layer of them takes 32 MB


@torch.inference_mode()
def predictions(config: CriticPretrainingConfig, weights: Mapping[str, torch.Tensor], pairs: np.ndarray) -> np.ndarray:
    """The predicted vectors for ``pairs`` (P,), numbers s * A + a: float64 (P, prediction_width).

    ``weights`` are those of one critic, a value of :meth:`synthlib.cql.pretraining.CriticPretraining.critics`. Raises
    ValueError when they belong to networks of another size.
    """
    assert isinstance(config.mdp, MDPConfig), "pairs of other data have no numbers"
    mdp, widths = config.mdp, (config.observation_width, config.action_width)
    critic = QNetwork(*widths, tuple(config.hidden), prediction_width(mdp, *widths))
    copy_weights(dict(critic.named_parameters()), weights, "this critic")
    states, actions = (torch.from_numpy(table) for table in vectors(mdp, *widths))
    numbers = torch.from_numpy(pairs).split(_AT_ONCE)
    made = [critic.predict(states[part // mdp.actions], actions[part % mdp.actions]) for part in numbers]
    return torch.cat(made).double().numpy()
