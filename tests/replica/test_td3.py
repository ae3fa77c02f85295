import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from synthlib.replica.policies import load_policy, save_policy
from synthlib.replica.replay_buffer import ReplayBuffer
from synthlib.replica.selection import keep_learning_curve, learning_curve, pick, saved_policy
from synthlib.replica.td3 import TD3, TD3Config
from synthlib.replica.training import train

TINY = TD3Config(
    "hopper", steps=1000, hidden=16, batch_size=32, random_steps=200, evaluate_every=200, evaluation_episodes=2
)


def batches(count, rows=32, widths=(5, 2)):
    generator = torch.Generator().manual_seed(1)
    normal = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    for _ in range(count):
        action = torch.rand(rows, widths[1], generator=generator) * 2 - 1
        discount = 0.99 * (torch.rand(rows, generator=generator) > 0.2)
        observations = normal(rows, widths[0]), normal(rows, widths[0])
        yield observations[0], action, normal(rows), observations[1], discount, normal(rows, widths[1])


def readable_update(agent, adams, observation, action, reward, next_observation, discount, noise):
    """TD3's update in plain autograd, following Algorithm 1 of its paper."""
    config = agent.config
    both = lambda critics, s, a: [critic(torch.cat([s, a], 1)).squeeze(1) for critic in critics]  # noqa: E731
    with torch.no_grad():
        smoothing = (config.target_noise * noise).clamp(-config.target_noise_clip, config.target_noise_clip)
        next_action = (agent.actor_target(next_observation).tanh() + smoothing).clamp(-1, 1)
        target = reward + discount * torch.minimum(*both(agent.critics_target, next_observation, next_action))
    loss = sum(F.mse_loss(value, target) for value in both(agent.critics, observation, action))
    adams["critics"].zero_grad()
    loss.backward()
    adams["critics"].step()
    agent.updates += 1
    if agent.updates % config.policy_delay:
        return
    loss = -both(agent.critics, observation, agent.actor(observation).tanh())[0].mean()
    adams["actor"].zero_grad()
    loss.backward()
    adams["actor"].step()
    with torch.no_grad():
        for name in ("actor", "critics"):
            online, targets = getattr(agent, name).parameters(), getattr(agent, f"{name}_target").parameters()
            for weight, old in zip(online, targets, strict=True):
                old.copy_((1 - config.target_rate) * old + config.target_rate * weight)


def test_gradients_by_hand_are_those_of_autograd():
    torch.manual_seed(0)
    fast = TD3(5, 2, TINY)
    slow = TD3(5, 2, TINY)
    slow.load(fast.state())
    adams = {name: torch.optim.Adam(getattr(slow, name).parameters(), lr=1e-3) for name in ("actor", "critics")}
    for batch in batches(6):
        fast.update(*batch)
        readable_update(slow, adams, *batch)
    for part in ("actor", "critics", "actor_target", "critics_target"):
        for name, weight in getattr(fast, part).state_dict().items():
            expected = getattr(slow, part).state_dict()[name]
            torch.testing.assert_close(weight, expected, atol=2e-6, rtol=1e-5, msg=f"{part} {name}")


class Interrupted(Exception):
    pass


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_undisturbed_one(tmp_path):
    train(TINY, tmp_path / "whole", report=lambda line: None)

    def stop_at_second(line, seen=[]):  # noqa: B006
        seen.append(line)
        if len(seen) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(TINY, tmp_path / "halves", report=stop_at_second)
    # What was collected after the last checkpoint is collected anew.
    rewards = np.lib.format.open_memmap(tmp_path / "halves" / "replay" / "rewards.npy")
    rewards[600:] = -7
    rewards.flush()
    lines = []
    train(TINY, tmp_path / "halves", report=lines.append)
    assert "going on at step" in lines[0]

    whole, halves = (sorted((tmp_path / name / "policies").iterdir()) for name in ("whole", "halves"))
    assert [path.name for path in whole] == [path.name for path in halves] and len(whole) >= 3
    for one, other in zip(whole, halves, strict=True):
        one, other = torch.load(one), torch.load(other)
        assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("observations", "actions", "rewards", "ends", "physics"):
        one, other = (np.load(tmp_path / folder / "replay" / f"{name}.npy") for folder in ("whole", "halves"))
        np.testing.assert_array_equal(one, other)
    curves = [learning_curve(tmp_path / folder) for folder in ("whole", "halves")]
    np.testing.assert_array_equal(*curves)


def test_a_checkpoint_holds_tensors_and_plain_values_only(tmp_path):
    torch.save({"agent": Interrupted}, tmp_path / "checkpoint.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        train(TINY, tmp_path, report=lambda line: None)


def test_a_damaged_checkpoint_is_named_before_anything_is_written(tmp_path):
    torch.save({"agent": 1}, tmp_path / "checkpoint.pt")
    content = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged; delete .* to train from the start"):
        train(TINY, tmp_path, report=lambda line: None)
    assert not (tmp_path / "evaluations.csv").exists()


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    folder = tmp_path_factory.mktemp("behaviour") / "hopper"
    train(TINY, folder, report=lambda line: None)
    return folder


def test_the_replay_buffer_holds_every_step_in_order(training):
    buffer = {path.stem: np.load(path) for path in (training / "replay").iterdir()}
    ends = buffer["ends"].astype(int)
    inside = np.flatnonzero(ends[:-1] == 0)
    np.testing.assert_array_equal(buffer["next_observations"][inside], buffer["observations"][inside + 1])
    assert set(ends) == {0, 1} and 10 < np.count_nonzero(ends) < 100
    assert np.abs(buffer["actions"]).max() <= 1 and buffer["actions"][:200].std() > 0.5
    # Physics states are those before the step: the observation leaves out the root's place only.
    np.testing.assert_allclose(buffer["physics"][:, 1:6], buffer["observations"][:, :5], atol=1e-6)


def test_values_are_not_carried_over_a_fall_but_over_a_time_out(tmp_path):
    replay = ReplayBuffer(tmp_path, 3, 2, 1, 4)
    for index, end in enumerate((0, 1, 2)):
        numbers = dict.fromkeys(replay.names, 0)
        replay.write(index, **(numbers | {"ends": end}))
    np.testing.assert_allclose(replay.batch(np.arange(3), 0.99)[-1], [0.99, 0, 0.99])


def test_a_training_can_be_made_longer_but_not_changed(training, tmp_path):
    ReplayBuffer(tmp_path / "buffer", 4, 2, 1, 3).write(
        3, **dict.fromkeys(ReplayBuffer(tmp_path / "names", 1, 2, 1, 3).names, 5)
    )
    longer = ReplayBuffer(tmp_path / "buffer", 9, 2, 1, 3)
    assert len(longer.rewards) == 9 and longer.rewards[3] == 5 and longer.rewards[4:].sum() == 0
    with pytest.raises(ValueError, match=r"holds a training with hidden=16; choose another folder"):
        train(replace(TINY, hidden=32), training)
    assert json.loads((training / "config.json").read_text())["hidden"] == 16


def test_the_learning_rate_falls_where_it_is_told_to(tmp_path):
    train(replace(TINY, late_from=500, late_learning_rate=0.0), tmp_path, report=lambda line: None)
    steps, _ = learning_curve(tmp_path)
    weights = {step: torch.load(tmp_path / "policies" / f"{step}.pt")["0.0.weight"] for step in steps}
    before, after = [step for step in steps if step < 500], [step for step in steps if step > 600]
    assert not torch.equal(weights[before[-1]], weights[after[0]])
    assert torch.equal(weights[after[0]], weights[after[-1]]) and len(after) > 1


def test_the_learning_curve_is_kept_without_repetitions(tmp_path):
    (tmp_path / "evaluations.csv").write_text("400,2.5,1.0,3,4\n200,1.5,0.5,2,3\n400,2.5,1.1,3,4\n")
    keep_learning_curve(tmp_path, tmp_path / "kept.csv")
    header, *lines = (tmp_path / "kept.csv").read_text().splitlines()
    assert header == "steps,score,seconds,lowest_return,highest_return"
    assert lines == ["200,1.500,0.5,2.0,3.0", "400,2.500,1.0,3.0,4.0"]


@pytest.mark.slow
def test_a_policy_is_picked_by_its_noisy_score(training, tmp_path):
    steps, _ = learning_curve(training)
    lines = []
    highest = pick(training, None, candidates=3, first=3, final=4, processes=1, report=lines.append)
    assert highest.facts["steps"] in steps and len(lines) == 6
    finals = [float(line.split(":")[1].split("+-")[0]) for line in lines[3:]]
    assert highest.facts["noisy_score"] == pytest.approx(max(finals), abs=0.06)
    save_policy(tmp_path / "policy.npz", highest)
    assert load_policy(tmp_path / "policy.npz").facts == highest.facts
    state = torch.load(training / "policies" / f"{steps[0]}.pt")
    policy = saved_policy(training, steps[0])
    np.testing.assert_array_equal(policy.layers[1][0], state["0.2.weight"].numpy().T)
