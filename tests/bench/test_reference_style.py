"""The peers of ``make bench`` do the same work as ours: else a ratio of their times would mean nothing."""

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from synthlib.bench import peer_d3rlpy, peer_jax, peers, reference_loops
from synthlib.bench.reference_style import ReferenceCQL, ReferenceCriticPretraining, ReferenceDT, ReferenceDTTraining
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.memory import made_up_data
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.dt.evaluation import readable_episode
from synthlib.dt.finetuning import DTTraining, baseline_training
from synthlib.dt.model import DecisionTransformer, baseline_config
from synthlib.dt.windows import BatchBuilder, draw, prepare, update_generators
from synthlib.generators import mdp
from synthlib.generators.markov_chain import ChainConfig, authors_block
from synthlib.machine.devices import CPU
from synthlib.offline.environments import make_environment
from synthlib.offline.evaluation import Evaluator
from tests.common import noise_for, random_batch

NO_DROPOUT = {"residual_dropout": 0.0, "attention_dropout": 0.0, "embedding_dropout": 0.0}


@pytest.mark.parametrize("sampled_actions", [3, 10])
def test_reference_cql_makes_the_same_updates(sampled_actions):
    config = CQLConfig(sampled_actions=sampled_actions, hidden=(32, 32))
    agent = CQL(5, 3, config, q_max=0.1, seed=3, dtype=torch.float64)
    reference = ReferenceCQL(agent)
    for i in range(20):
        batch = random_batch(5, 3, 40, seed=i, dtype=torch.float64)
        noise = noise_for(agent, 40, seed=i, dtype=torch.float64)
        ours, theirs = agent.update(batch, noise), reference.update(batch, noise)
        assert theirs == pytest.approx({name: float(ours[name]) for name in theirs}, abs=1e-9)
    for name in ("policy", "q1", "q2", "target_q1", "target_q2"):
        pairs = zip(getattr(agent, name).parameters(), getattr(reference, name).parameters(), strict=True)
        assert max(float((one - other).detach().abs().max()) for one, other in pairs) < 1e-9


@pytest.mark.skipif(not peer_jax.is_there(), reason="JAX is not here: make bench-peers")
def test_jax_makes_the_same_updates():
    config = CQLConfig(hidden=(32, 32))
    agent = CQL(5, 3, config, q_max=0.1, seed=3)
    update, draw = peer_jax.cql_update(agent)
    state = peer_jax.cql_state(agent)
    for i in range(20):
        batch, noise = random_batch(5, 3, 40, seed=i), noise_for(agent, 40, seed=i)
        ours = agent.update(batch, noise)
        state, theirs = update(state, *(tuple(part.numpy() for part in parts) for parts in (batch, noise)))
        for name, value in theirs.items():
            assert float(value) == pytest.approx(float(ours[name]), rel=1e-4, abs=1e-4)
    for name, weight in agent.weights().items():
        np.testing.assert_allclose(state["weights"][name], weight.detach(), atol=1e-4)
    shapes = [part.shape for part in draw(peer_jax._jax().random.PRNGKey(0), 40)]
    assert shapes == [tuple(part.shape) for part in noise]


@pytest.mark.skipif(not peer_jax.is_there(), reason="JAX is not here: make bench-peers")
def test_agents_of_jax_together_make_the_updates_of_each():
    config, data = CQLConfig(hidden=(16, 16)), made_up_data(5, 3, rows=50)
    agents = [CQL(5, 3, config, q_max=1.0, seed=seed) for seed in range(2)]
    jax, tree = peer_jax._jax(), peer_jax._jax().tree
    step, table = peer_jax._step(agents[0], data.batch(np.arange(50)), CPU, size=8)
    states, keys = [peer_jax.cql_state(agent) for agent in agents], jax.random.split(jax.random.PRNGKey(0))
    together = tree.map(lambda *leaves: jax.numpy.stack(leaves), *states)
    found, _, _ = jax.jit(jax.vmap(step, in_axes=(0, 0, None)))(together, keys, table)
    step = jax.jit(step)
    for place in range(2):
        alone, _, losses = step(states[place], keys[place], table)
        for one, other in zip(tree.leaves(alone), tree.leaves(found), strict=True):
            np.testing.assert_allclose(one, other[place], atol=1e-5)
        assert np.isfinite(losses["qf_loss_total"])
    run, finish = peer_jax.cql_column_updates(agents, data, 8, CPU)
    for _ in range(3):
        run()
    assert finish()["qf_loss_total"].shape == (2,)


@pytest.mark.skipif(not peer_jax.is_there(), reason="JAX is not here: make bench-peers")
def test_jax_is_left_out_where_it_sees_no_gpu():
    code = "import torch; from synthlib.bench import peer_jax; print(peer_jax.missing(torch.device('cuda')))"
    environment = os.environ | {"JAX_PLATFORMS": "cuda,cpu", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    (said,) = run.stdout.splitlines()
    assert said.startswith("JAX is left out, as it sees no GPU here (")
    assert said.endswith("`make bench-peers DEVICE=cuda` fetches what it needs.")


def test_peers_that_are_not_here_are_named_with_what_fetches_them(tmp_path, monkeypatch):
    for module in (peer_jax, peer_d3rlpy):
        monkeypatch.setattr(module, "FOLDER", tmp_path)
    assert peers.left_out(CPU) == [f"{name} is left out: `make bench-peers` fetches it." for name in ("d3rlpy", "JAX")]


def test_a_gpu_gets_jax_for_the_cuda_that_pytorch_has():
    gpu = torch.device("cuda")
    assert [path.name for path in peers.locks(CPU, "13.0")] == ["bench_peers.lock"]
    assert [path.name for path in peers.locks(gpu, None)] == ["bench_peers.lock"]
    versions = dict(line.split("==") for line in peers.locks(CPU, None)[0].read_text().split())
    for cuda in ("12.6", "13.0"):
        path = peers.locks(gpu, cuda)[1]
        plugins = [line for line in path.read_text().split() if line.startswith("jax-cuda")]
        assert plugins == [f"jax-cuda{cuda[:2]}-{part}=={versions['jax']}" for part in ("pjrt", "plugin")]


def test_reference_critic_pretraining_makes_the_same_updates():
    config = CriticPretrainingConfig(11, 3, mdp.MDPConfig(states=10, trajectories=2))
    training = CriticPretraining(config)
    reference, generator = ReferenceCriticPretraining(training), np.random.RandomState(0)
    generator.set_state(training.batches.get_state())
    for _ in range(20):
        rows = training.batches.randint(len(training.transitions.observations), size=256)
        ours = training.update(*training.batch(rows))
        assert reference.update(generator) == pytest.approx(ours.tolist(), abs=1e-6)
    pairs = zip(training.q1.parameters(), reference.q1.parameters(), strict=True)
    assert max(float((one - other).detach().abs().max()) for one, other in pairs) < 1e-6


def episodes(width=5):
    rng = np.random.default_rng(0)

    class Trajectory:
        def __init__(self, steps):
            self.observations = rng.normal(size=(steps, width)).astype(np.float32)
            self.actions = rng.uniform(-1, 1, (steps, 3)).astype(np.float32)
            self.rewards = rng.normal(size=steps).astype(np.float32)
            self.terminals = np.arange(steps) == steps - 1

    return prepare([Trajectory(steps) for steps in (3, 18, 40, 61, 25, 30)])


def test_windows_cut_in_a_loop_are_the_same():
    data = episodes()
    rows, starts = draw(data, 50, *update_generators(42, 0))
    np.random.seed(42)
    random.seed(42)
    assert [list(map(int, part)) for part in reference_loops.draw_windows(data, 50)] == [rows.tolist(), starts.tolist()]
    for ours, theirs in zip(
        BatchBuilder(data).batch(rows, starts), reference_loops.window_batch(data, rows, starts), strict=True
    ):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_reference_transformer_makes_the_same_updates(attention):
    data = episodes()
    config = baseline_config(5, 3, width=16, layers=2, **NO_DROPOUT)
    model, settings = DecisionTransformer(config, seed=1), baseline_training(warmup_updates=2, learning_rate=1e-3)
    reference = ReferenceDTTraining(ReferenceDT(config, attention).load(model), settings)
    training = DTTraining(model, settings)
    for update in range(10):
        batch = BatchBuilder(data).batch(*draw(data, 16, *update_generators(1, update)))
        assert reference.update(batch) == pytest.approx(training.update(batch, None).loss.item(), abs=1e-5)
    weights = reference.model.state_dict()
    assert torch.allclose(weights["predict_action.weight"], model.predict_action.weight, atol=1e-4)
    assert torch.allclose(weights["transformer.h.0.attn.c_attn.weight"], model.h[0].attn.c_attn.weight, atol=1e-4)


def test_an_episode_of_the_reference_transformer_has_the_same_return():
    config = baseline_config(17, 6, width=16, layers=2)
    model = DecisionTransformer(config, seed=1)
    mean, std = np.full(17, 0.1, dtype=np.float32), np.full(17, 0.7, dtype=np.float32)
    env = make_environment("halfcheetah").unwrapped
    play = {"mean": mean, "std": std, "target_return": 6000.0, "seed": 3, "max_steps": 40}
    ours = readable_episode(model, env, **play)
    theirs = reference_loops.transformer_return(ReferenceDT(config).load(model).eval(), env, **play)
    assert theirs == pytest.approx(ours.rewards.sum(), rel=1e-3)


def test_episodes_of_a_policy_one_by_one_have_the_same_returns():
    agent = CQL(17, 6, CQLConfig(hidden=(32, 32)), q_max=1.0, seed=0)
    ours = Evaluator("halfcheetah", episodes=2, max_steps=30).evaluate(agent.act, seed=5).returns
    envs = [make_environment("halfcheetah") for _ in range(2)]
    theirs = reference_loops.policy_returns(ReferenceCQL(agent).act, "halfcheetah", envs, seed=5, max_steps=30)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"order": 2}, {"states": 1000, "temperature": 0.1}])
def test_tokens_drawn_in_a_loop_are_the_authors(options):
    config = ChainConfig(**options)
    place = {"iteration": 1, "worker": 1, "workers": 4, "sequences": 3, "positions": 6}
    np.testing.assert_array_equal(reference_loops.chain_tokens(config, **place), authors_block(config, **place))


def test_transitions_drawn_in_a_loop_are_the_same():
    config = mdp.MDPConfig(states=20, trajectories=3, length=40)
    for ours, theirs in zip(mdp.generate(config), reference_loops.mdp_transitions(config, 3, 40), strict=True):
        np.testing.assert_array_equal(ours, theirs)
