import numpy as np
import pandas as pd
import pytest
import torch

from synthlib.dt import jobs as dt_jobs
from synthlib.dt import pretraining_jobs
from synthlib.dt.algorithm import SEEDS
from synthlib.dt.evaluation import TARGET_RETURNS
from synthlib.dt.jobs import finetuning_job, loaded_model, untrained_model
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig
from synthlib.dt.pretraining_jobs import pretraining_job
from synthlib.dt.similarity import similarities_of_run
from synthlib.paths import store_root
from synthlib.report.sources import open_runs
from synthlib.runs import loop
from synthlib.runs.store import Store
from synthlib.study.params import load_artefact
from synthlib.study.presets import can_train, load_preset, presets
from tests.common import DT_SETTINGS, SMALL_ARM, small_dt_job, train, trained_dt

BASELINE, MATCHED, CHAIN = {"pretraining": "none"}, {"pretraining_updates": 0}, {"chain": {"states": 100}}


@pytest.fixture
def own_text(tmp_path):
    """A corpus of the user's own, as ``path:<folder>``: no download."""
    words = np.array(["the", "state", "action", "reward", "policy", "and", "value", "learns", "offline", "data"])
    drawn = words[np.random.default_rng(0).integers(len(words), size=(60, 12))]
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "one.txt").write_text("\n".join(" ".join(line) for line in drawn))
    return f"path:{tmp_path / 'text'}"


def test_a_model_cannot_have_other_heads_than_its_pretraining(outputs):
    settings = load_preset("smoke", "dt")
    with pytest.raises(ValueError, match="the pre-training has 2 heads, the model 1: say the same"):
        finetuning_job({"gpt2": {"heads": 2}}, "hopper-medium", 42, settings, None)
    both = finetuning_job({"gpt2": {"heads": 2}, "model": {"heads": 2}}, "hopper-medium", 42, settings, None)
    assert both.key == finetuning_job({"model": {"heads": 2}}, "hopper-medium", 42, settings, None).key


def test_identity_names_everything_that_decides_the_numbers(random_hopper_data, outputs):
    def key(arm=CHAIN, **settings):
        return small_dt_job(arm, random_hopper_data, **settings).key

    assert key() == key(updates=99) == key({}) == key({"chain": {"order": 1, "temperature": 1.0}})
    arms = [{}, BASELINE, MATCHED, {"pretraining_updates": 10_000}, {"pretraining_seed": 1}, {"data_ratio": 0.5}]
    arms += [{"chain": {"kind": "iid"}}, {"objective": "identity"}, {"text": "wiki"}, {"exclude_lowest": False}]
    assert "rows" not in small_dt_job(CHAIN, random_hopper_data).requires[0].config["data"]["chain"]  # older than it
    assert key({"chain": {"rows": "authors"}}) == key() != key({"chain": {"rows": "legacy"}})
    assert len({key(arm) for arm in arms} | {key(seed=0), key(evaluate_every=3), key(warmup_updates=9)}) == 13
    assert key(pretraining_scale=0.002) != key() != key(pretraining_batch_size=3)
    # The baseline has no pre-training, so how one would be made is no part of it.
    assert key(BASELINE, pretraining_scale=0.002) == key(BASELINE)


@pytest.mark.parametrize("table", ["table1", "table2", "table3", "table4", "table5", "table27", "matched_control"])
def test_every_arm_of_the_tables_with_settings_of_its_own_is_a_run_of_its_own(table, random_hopper_data):
    arms, settings = load_artefact(table).arms, DT_SETTINGS | {"pretraining_scale": 0.01}
    jobs = {arm: finetuning_job(own, "hopper-medium", 42, settings, random_hopper_data) for arm, own in arms.items()}
    assert len({job.key for job in jobs.values()}) == len({str(settings) for settings in arms.values()})
    for arm, job in jobs.items():
        published = arm == "DT"
        assert (job.config["backbone"] is None) == published
        assert job.config["model"]["wpe_as_time_embedding"] == job.config["model"]["tied_projections"] != published
        training = job.config["training"]
        assert (training["eps"], training["time_embedding_steps"]) == ((1e-8, 1) if published else (1e-6, 2))
        assert (training["cluster_weight"] > 0) == (arm in ("DT+Wiki", "DT+Wiki, matched"))
        assert job.config["evaluation"]["target_return"] == TARGET_RETURNS["hopper"] == 3600


def test_tables_share_their_pretrainings(random_hopper_data):
    def keys(table):
        arms = load_artefact(table).arms
        return {arm: pretraining_job(settings, DT_SETTINGS).key for arm, settings in arms.items() if arm != "DT"}

    assert set(keys("table5").values()) == {keys("table1")["DT+Synthetic"]}  # one run, matched control included
    assert keys("table3")["S100"] == keys("table4")["tau=1"] == keys("table2")["1-MC"] == keys("table1")["DT+Synthetic"]
    control = keys("matched_control")
    assert control["DT, matched (IID side)"] == control["DT, matched"] != control["DT, matched (another start)"]


@pytest.mark.parametrize("target", [1800, {"hopper": 1800.0}])
def test_another_target_return_is_asked_for_and_is_another_run(target, random_hopper_data, outputs):
    usual, other = (small_dt_job(BASELINE | more, random_hopper_data) for more in ({}, {"target_return": target}))
    assert usual.key == small_dt_job(BASELINE | {"target_return": 3600}, random_hopper_data).key
    assert usual.key == small_dt_job(BASELINE | {"target_return": {"ant": 4800}}, random_hopper_data).key != other.key
    assert dt_jobs.FineTuning(other, Store(outputs)).target_return == 1800


def test_text_can_be_read_in_the_order_of_the_authors_loader(outputs, monkeypatch):
    """Faithfulness 2.7: four workers have a quarter of one shuffled order each, and take turns."""
    rows = np.arange(40)[:, None].repeat(8, axis=1) % 300
    monkeypatch.setattr(pretraining_jobs, "_text_rows", lambda *_: (rows, rows))
    orders = {}
    for workers in (None, 1, 4):
        arm = {"text": "wiki"} | ({} if workers is None else {"loader_workers": workers})
        config = pretraining_job(arm, DT_SETTINGS).config
        batches, _ = pretraining_jobs._tokens(config, GPT2PretrainingConfig(**config["gpt2"]))
        orders[workers] = [batches(update)[:, 0].tolist() for update in range(20)]
    assert orders[None] == orders[1] != orders[4]
    one = [row for batch in orders[1] for row in batch]
    assert sorted(row for batch in orders[4] for row in batch) == sorted(one)
    assert orders[4][:4] == [one[0:2], one[10:12], one[20:22], one[30:32]]
    keys = [pretraining_job({"text": "wiki"} | more, DT_SETTINGS).key for more in ({}, {"loader_workers": 1})]
    assert keys[0] == keys[1] != pretraining_job({"text": "wiki", "loader_workers": 4}, DT_SETTINGS).key


def test_one_pretraining_keeps_table_5s_checkpoints_on_its_way(outputs):
    store, job = Store(outputs / "store"), pretraining_job(SMALL_ARM | {"pretraining_updates": 80_000}, DT_SETTINGS)
    assert job.updates == 80 and job.keep == (1, 10, 20, 40, 60, 80)
    assert (job.config["gpt2"]["warmup_updates"], job.config["gpt2"]["schedule_updates"]) == (10, 80)
    train(job, store)
    default = pretraining_job(SMALL_ARM, DT_SETTINGS)
    assert default.key == job.key and default.updates == 20 and store.is_done(default)
    apart = Store(outputs / "apart")
    train(default, apart)
    for name, weight in apart.weights(default).items():
        assert torch.equal(weight, store.weights(default)[name])
    first, last = (
        store.weights(pretraining_job(SMALL_ARM | {"pretraining_updates": n}, DT_SETTINGS)) for n in (1_000, 80_000)
    )
    assert not torch.equal(first["wte.weight"], last["wte.weight"])


def test_a_pretraining_records_its_losses_and_what_it_knows_of_unseen_sequences(outputs):
    # Nearly a fixed sequence of tokens: there is something to be learnt in a hundred updates.
    arm = SMALL_ARM | {"chain": {"states": 5, "temperature": 0.02}, "pretraining_updates": 80_000}
    store, job = Store(outputs / "store"), pretraining_job(arm, DT_SETTINGS | {"pretraining_scale": 0.0025})
    train(job, store)
    losses = store.losses(job)
    assert losses["updates"].iloc[-1] == 200 and losses["loss"].notna().sum() == 20
    validated = losses.dropna(subset="validation_loss")
    assert list(validated["updates"]) == list(range(2, 201, 2))
    np.testing.assert_allclose(np.exp(validated["validation_loss"]), validated["validation_perplexity"])
    assert validated["validation_loss"].iloc[0] > 1.5 > 1.3 > validated["validation_loss"].iloc[-1]


def test_where_each_arms_pretraining_was_left(outputs, monkeypatch):
    monkeypatch.setenv("SYNTHLIB_OUTPUTS", str(outputs))
    runs = open_runs("own", "smoke")
    store = Store(store_root())
    for job in (job for cell in runs._plan("pretraining_recipes").cells for job in cell.job.requires):
        if store.is_done(job):
            continue
        with store.open(job).recording_failure() as session:
            rows = [{"updates": n, "loss": 5.0, "validation_loss": 5 - n / 100} for n in range(1, job.updates + 1)]
            session.save({}, job.updates, losses=rows)
            for kept in job.keep:
                session.save_weights(kept, {})
    ends = runs.pretraining_ends("pretraining_recipes")
    assert "DT" not in ends.index and np.isnan(ends.loc["DT, matched", "validation_loss"])
    for arm in ("DT+Synthetic", "half of the updates", "tenth of the updates"):
        assert ends.loc[arm, "validation_loss"] == 5 - ends.loc[arm, "updates"] / 100
    assert ends.loc["tenth of the updates", "updates"] < ends.loc["half of the updates", "updates"]


def test_validation_sequences_are_never_trained_on(outputs):
    config = pretraining_job(CHAIN, DT_SETTINGS).config
    batches, held_out = pretraining_jobs._tokens(config, GPT2PretrainingConfig(**config["gpt2"]))
    seen = {tuple(row) for update in range(10) for row in batches(update)}
    assert len(seen) == 20 and not seen & set(map(tuple, held_out))
    np.testing.assert_array_equal(batches(0), batches(10))  # the next epoch


def test_the_matched_control_has_the_flags_and_an_untrained_backbone_that_all_seeds_share(random_hopper_data, outputs):
    store = Store(outputs / "store")
    matched = [small_dt_job(MATCHED, random_hopper_data, seed=seed) for seed in (0, 1)]
    (pretraining,) = matched[0].requires
    assert pretraining.updates == 0 and pretraining.key == small_dt_job(CHAIN, random_hopper_data).requires[0].key
    train(pretraining, store)
    models = [loaded_model(job, store).state_dict() for job in matched]
    torch.testing.assert_close(models[0]["h.0.attn.c_attn.weight"], models[1]["h.0.attn.c_attn.weight"], rtol=0, atol=0)
    assert models[0]["h.0.attn.c_attn.weight"].std() < 0.03 and models[0]["time_embedding.weight"].std() < 0.03
    assert not torch.equal(models[0]["embed_state.weight"], models[1]["embed_state.weight"])
    baseline = untrained_model(small_dt_job(BASELINE, random_hopper_data, seed=0)).state_dict()
    assert baseline["time_embedding.weight"].std() > 0.9 and "predict_action.weight" in baseline
    assert "predict_action.weight" not in models[0]


def test_pretrained_arms_start_from_their_checkpoint(random_hopper_data, outputs):
    store, job = Store(outputs / "store"), small_dt_job(CHAIN, random_hopper_data)
    train(job.requires[0], store)
    weights, model = store.weights(job.requires[0]), loaded_model(job, store)
    for name, parameter in model.backbone().items():
        assert torch.equal(parameter, weights[name])
    assert not torch.equal(model.time_embedding.weight, untrained_model(job).time_embedding.weight)


def test_a_run_records_its_evaluations_and_losses(random_hopper_data, outputs):
    store, job = trained_dt(CHAIN, random_hopper_data, outputs)
    evaluations, losses = store.evaluations(job), store.losses(job)
    assert list(evaluations["updates"]) == list(losses["updates"]) == [4, 8, 12]
    assert evaluations["environment_seed"].nunique() == 3
    np.testing.assert_allclose(evaluations["score"], 100 * (evaluations["return_mean"] + 20.272305) / 3254.572305)
    assert losses["train_loss"].between(0.1, 10).all()
    np.testing.assert_array_equal(losses["train_loss"], losses["total_loss"])


def test_the_wiki_arm_is_pretrained_on_text_and_pulled_towards_its_clusters(random_hopper_data, outputs, own_text):
    store, job = trained_dt({"text": "wiki"}, random_hopper_data, outputs, text=own_text)
    assert job.requires[0].updates == 80 and job.config["clusters"] == 300
    assert job.requires[0].config["data"]["text"]["checksum"]
    losses = store.losses(job)
    assert (losses["total_loss"] < losses["train_loss"]).all()


def test_arms_of_one_seed_see_the_same_windows(random_hopper_data, outputs, monkeypatch):
    seen = []
    update = dt_jobs.DTTraining.update
    monkeypatch.setattr(
        dt_jobs.DTTraining,
        "update",
        lambda training, batch, generator: seen.append(batch) or update(training, batch, generator),
    )
    for arm, seed in ((BASELINE, 0), (MATCHED, 0), (BASELINE, 1)):
        trained_dt(arm, random_hopper_data, outputs / f"{arm}", seed=seed, updates=2, evaluate_every=5)
    first, second, other = (seen[i : i + 2] for i in (0, 2, 4))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.observations, two.observations)
    assert not np.array_equal(first[0].observations, other[0].observations)
    assert not np.array_equal(first[0].observations, first[1].observations)


def test_a_share_of_the_data_is_whole_trajectories(random_hopper_data, outputs):
    whole, half = (
        dt_jobs.sequence_data(small_dt_job({"data_ratio": ratio}, random_hopper_data)) for ratio in (1.0, 0.5)
    )
    assert len(half.trajectories) == len(whole.trajectories) // 2
    assert len(whole.drawable) == len(whole.trajectories) - 1


def test_similarities_come_from_what_the_store_has(random_hopper_data, outputs):
    store, job = trained_dt(CHAIN, random_hopper_data, outputs)
    pretrained, untrained = similarities_of_run(job, store, ratio=1.0, batch_size=8)
    assert (pretrained["comparison"], untrained["comparison"]) == ("PT vs FT", "RI vs FT")
    assert pretrained["updates"] == 12
    # Twelve updates move the weights a little from where they were loaded; an untrained trunk is another one.
    assert 0.999 < pretrained["weights"] < 1 and untrained["weights"] < 0.99
    assert untrained["features"] < pretrained["features"] < 1
    same = similarities_of_run(*reversed(trained_dt(BASELINE, random_hopper_data, outputs)), ratio=1.0, batch_size=8)
    assert same[0]["weights"] == same[1]["weights"] and same[0]["features"] == same[1]["features"]


class Killed(BaseException):
    pass


def interrupted_at(stop, name, owner, monkeypatch):
    """Make ``owner.name`` raise once ``stop`` updates are done."""
    undisturbed = getattr(owner, name)

    def or_die(self, *arguments, **keywords):
        if self.updates == stop:
            raise Killed
        return undisturbed(self, *arguments, **keywords)

    monkeypatch.setattr(owner, name, or_die)


@pytest.mark.parametrize("arm", [BASELINE, CHAIN], ids=["baseline", "pre-trained"])
def test_a_run_interrupted_anywhere_equals_an_undisturbed_one(arm, random_hopper_data, outputs, monkeypatch):
    store, job = trained_dt(arm, random_hopper_data, outputs)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    broken = Store(outputs / "broken")
    for pretraining in job.requires:
        train(pretraining, broken)
    for stop in (3, 9):  # between two evaluations, and again later
        with monkeypatch.context() as patched:
            interrupted_at(stop, "update", dt_jobs.FineTuning, patched)
            with pytest.raises(Killed):
                train(job, broken)
        assert broken.updates_done(job) == stop
    train(job, broken)
    pd.testing.assert_frame_equal(store.evaluations(job), broken.evaluations(job))
    pd.testing.assert_frame_equal(store.losses(job), broken.losses(job))


def test_a_pretraining_interrupted_anywhere_equals_an_undisturbed_one(outputs, monkeypatch):
    job = pretraining_job(SMALL_ARM, DT_SETTINGS)
    undisturbed, broken = Store(outputs / "undisturbed"), Store(outputs / "broken")
    train(job, undisturbed)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    for stop in (7, 13):  # within a row of losses
        with monkeypatch.context() as patched:
            interrupted_at(stop, "update", GPT2Pretraining, patched)
            with pytest.raises(Killed):
                train(job, broken)
        assert broken.updates_done(job) == stop
    train(job, broken)
    pd.testing.assert_frame_equal(undisturbed.losses(job), broken.losses(job))
    for updates in job.keep:
        kept = [torch.load(store.folder(job) / f"weights_{updates}.pt") for store in (undisturbed, broken)]
        assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_a_longer_run_continues_a_shorter_one(random_hopper_data, outputs):
    straight, long_job = trained_dt(BASELINE, random_hopper_data, outputs)
    stepwise = Store(outputs / "stepwise")
    for updates in (4, 12):
        train(small_dt_job(BASELINE, random_hopper_data, updates=updates), stepwise)
    pd.testing.assert_frame_equal(straight.evaluations(long_job), stepwise.evaluations(long_job))


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ({"pretraining": "nothing"}, "'nothing' is unknown"),
        ({"text": "wiki", "chain": {"states": 10}}, "without chain, generator or objective"),
        ({"text": "books"}, "text: wiki"),
        ({"chain": {"states": 1}}, "states must be"),
        (BASELINE | {"text": "wiki", "pretraining_seed": 1}, "none cannot have pretraining_seed, text as well"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(arm, said, random_hopper_data):
    with pytest.raises(ValueError, match=said):
        small_dt_job(arm, random_hopper_data)


@pytest.mark.parametrize("preset", [preset for preset in presets() if can_train(preset, "dt")])
def test_every_preset_is_valid_and_leaves_four_evaluations_for_the_final_score(preset):
    settings = load_preset(preset, "dt")
    assert settings["updates"] >= 4 * settings["evaluate_every"]
    assert settings["updates"] % settings["evaluate_every"] == 0
    arms = [load_artefact("table5").arms[arm] for arm in ("DT, matched", "1k", "10k", "20k", "40k", "60k", "80k")]
    lengths = {pretraining_job(arm, settings).updates for arm in arms}
    assert len(lengths) == 7  # Table 5's numbers of updates stay apart, the control's 0 too


def test_the_paper_preset_is_the_papers():
    settings = load_preset("paper", "dt")
    assert len(settings["datasets"]) == 12 and settings["seeds"] == len(set(SEEDS)) == 20
    assert (settings["updates"], settings["evaluate_every"], settings["episodes"]) == (100_000, 5_000, 10)
    gpt2 = pretraining_job({"text": "wiki"}, settings).config["gpt2"]
    assert (gpt2["warmup_updates"], gpt2["schedule_updates"], gpt2["learning_rate"]) == (10_000, 80_000, 3e-4)
    assert (gpt2["batch_size"], gpt2["sequence_length"], gpt2["vocabulary"]) == (64, 1024, 50_257)
    job = finetuning_job({}, "halfcheetah-medium", 42, settings, None)
    assert (job.config["training"]["warmup_updates"], job.config["training"]["batch_size"]) == (5_000, 64)
    assert job.requires[0].updates == 20_000
