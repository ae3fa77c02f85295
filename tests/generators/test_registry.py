"""A generator of one's own: what is wrong with it is said in a sentence, before anything trains."""

import sys
import textwrap

import numpy as np
import pytest

from synthlib.generators.registry import Generated, generate, generated_by, try_out
from tests.common import OWN_GENERATORS


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module of one's own on the Python path and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(text, name="own_data"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def tokens(name, **parameters):
    return generated_by({"generator": name, "parameters": parameters}, "token", 0, 40)


def test_tokens_and_transitions_of_ones_own(module):
    name = module(OWN_GENERATORS)
    data = tokens(f"{name}:coin", bias=1)
    assert data.parameters == {"vocabulary": 2, "bias": 1.0} and data == tokens(f"{name}:coin", bias=1.0)
    made = generate(data, 7)
    assert made.dtype == np.int32 and made.shape == (40, 7) and made.all()
    vectors = generate(generated_by({"generator": f"{name}:drift"}, "transition", 0, 30), 4, 3)
    assert [one.shape for one in vectors] == [(30, 4), (30, 3), (30, 4)]
    numbers = generate(generated_by({"generator": f"{name}:ring"}, "transition", 0, 30), 4, 3)
    assert [one.shape for one in numbers] == [(30,)] * 3
    seeded = generated_by({"generator": f"{name}:drift", "parameters": {"seed": 3}}, "transition", 0, 30)
    assert seeded.seed == 3 and "seed" not in seeded.parameters


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("own_data:coin", {"bais": 1}, "own_data:coin has no parameter 'bais'; it has: vocabulary, bias"),
        ("own_data:coin", {"length": 1}, "own_data:coin has no parameter 'length'; it has: vocabulary, bias"),
        ("own_data:coin", {"bias": "1"}, "own_data:coin: bias must be a number, not '1'"),
        ("own_data:coin", {"vocabulary": True}, "own_data:coin: vocabulary must be a whole number, not True"),
        ("own_data:coin", {"vocabulary": 1}, "vocabulary must be a whole number of at least 2, not 1"),
        ("own_data:coin", {"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ("own_data:coins", {}, "own_data has no 'coins'; its generators: coin, drift, ring"),
        ("own_data:drift", {}, "own_data:drift is a transition generator; this arm needs a token generator"),
        (
            "own_dta:coin",
            {},
            "there is no module 'own_dta' on the Python path: say where its file lies with PYTHONPATH",
        ),
        ("textwrap:dedent", {}, "textwrap:dedent is not registered: put @token_generator above its definition"),
        ("coin", {}, "generator must be my_module:name, not 'coin'"),
    ],
)
def test_an_unknown_name_or_parameter_is_a_sentence(name, parameters, said, module):
    module(OWN_GENERATORS)
    with pytest.raises(ValueError) as refused:
        tokens(name, **parameters)
    assert str(refused.value).startswith(said)


HEAD = "import numpy as np\nfrom synthlib.generators.registry import token_generator\n@token_generator\ndef mine"
ARGUMENTS = "(seed, sequences, length, vocabulary=3):\n    draw = np.random.default_rng(seed)\n    "


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_like_it", "own_data cannot be imported: No module named 'nothing_like_it'"),
        ("def mine(:", "own_data cannot be imported: SyntaxError"),
        (
            f"{HEAD}(sequences, length): pass",
            "own_data cannot be imported: ValueError: the first parameters of the token",
        ),
        (f"{HEAD}(seed, sequences, length): pass", "own_data cannot be imported: ValueError: the token generator mine"),
        (
            f"{HEAD}(seed, sequences, length, **more): pass",
            "own_data cannot be imported: ValueError: mine takes **more",
        ),
        (f"{HEAD}{ARGUMENTS}return [[1]]", "own_data:mine must return NumPy arrays; tokens is a list"),
        (
            f"{HEAD}{ARGUMENTS}return draw.random((sequences, length))",
            "own_data:mine must return integers, not float64",
        ),
        (
            f"{HEAD}{ARGUMENTS}return draw.integers(3, size=(length, sequences + 1))",
            "own_data:mine: tokens must have shape (16, 9), not (9, 17)",
        ),
        (
            f"{HEAD}{ARGUMENTS}return draw.integers(1, 4, size=(sequences, length))",
            "own_data:mine must return tokens from 0 to 2 (its vocabulary is 3); it has 1 to 3",
        ),
        (
            f"{HEAD}{ARGUMENTS}return np.random.randint(3, size=(sequences, length))",
            "own_data:mine gives other data the second time: draw with numpy.random.default_rng(seed)",
        ),
        (
            f"{HEAD}{ARGUMENTS}return 1 / 0",
            "own_data:mine fails with seed=0, sequences=16, length=9: ZeroDivisionError: division by zero",
        ),
        (f"{HEAD}(seed, sequences, length, vocabulary): pass", "own_data:mine needs a value for 'vocabulary'"),
    ],
)
def test_a_broken_token_generator_is_a_sentence(source, said, module):
    name = module(source)
    with pytest.raises(ValueError) as refused:
        try_out(tokens(f"{name}:mine"), 9)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("o, a", "own_data:mine must return three arrays: observations, actions, next observations"),
        ("o, a, o[:, :2]", "own_data:mine: next_observations must have shape (16, 4), not (16, 2)"),
        ("o, a, o / 0", "own_data:mine must return finite numbers; next_observations has not-a-number or infinity"),
        ("o, a.astype(int), o", "own_data:mine must return floats in all three arrays, or integers; actions is int64"),
        ("-i, i, i", "own_data:mine must number states and actions from 0 on; observations has -15"),
    ],
)
def test_a_broken_transition_generator_is_a_sentence(returned, said, module):
    name = module(
        f"""
        import numpy as np
        from synthlib.generators.registry import transition_generator

        @transition_generator
        def mine(seed, transitions, observation_width, action_width):
            i, o, a = np.arange(transitions), np.zeros((transitions, 4)), np.zeros((transitions, 3))
            with np.errstate(invalid="ignore"):
                return {returned}
        """
    )
    with pytest.raises(ValueError) as refused:
        try_out(generated_by({"generator": f"{name}:mine"}, "transition", 0, 50), 4, 3)
    assert str(refused.value) == said


def test_edited_code_is_another_identity_and_is_not_run_for_the_old_one(module):
    name = module(OWN_GENERATORS)
    before = tokens(f"{name}:coin")
    module(OWN_GENERATORS.replace("< bias", "<= bias"))
    with pytest.raises(ValueError, match="own_data:coin was edited after it was imported: start again"):
        tokens(f"{name}:coin")
    sys.modules.pop(name)  # as in another process
    after = tokens(f"{name}:coin")
    assert before.code != after.code and set(after.code) == {"source"}
    with pytest.raises(ValueError, match="own_data:coin was edited after its runs had been planned; start again"):
        generate(before, 7)


def test_a_version_takes_the_place_of_the_source(module):
    name = module(OWN_GENERATORS.replace("@token_generator", "@token_generator(version=3)"), "versioned_data")
    data = tokens(f"{name}:coin")
    assert data.code == {"version": 3} and Generated(**vars(data)) == data
