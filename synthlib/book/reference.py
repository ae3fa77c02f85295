"""The page of the public names: signatures and docstrings, read from the source and not imported.

What a reader's own code would call is listed in :data:`NAMES`; the rest of the package is for reading.
"""

import ast
import inspect
import re
from pathlib import Path

from synthlib.paths import ROOT

NAME = "reference"
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "Data, robots and weights of your own": {
        "synthlib.generators.registry": ("token_generator", "transition_generator"),
        "synthlib.robots": ("robot",),
        "synthlib.dt.weights": ("find_weights", "read_weights"),
    },
    "Plans, runs and reports": {
        "synthlib.study.plan": ("make_plan", "Plan", "Cell", "Selection"),
        "synthlib.study.summary": ("run_plan",),
        "synthlib.runs.store": ("Store",),
        "synthlib.runs.job": ("Job", "Run", "Pretraining", "Training", "Algorithm"),
        "synthlib.report.sources": ("open_runs", "OwnRuns"),
        "synthlib.report.report": ("Report",),
    },
    "Policies, and sharing": {
        "synthlib.runs.policies": ("keep_policies", "policy_of"),
        "synthlib.runs.hub": ("push", "pulled", "take_trainings", "take_data"),
    },
    "Offline data and evaluation": {
        "synthlib.offline.datasets": ("load", "OfflineDataset", "qlearning_transitions", "trajectories"),
        "synthlib.offline.environments": ("make_environment",),
        "synthlib.offline.evaluation": ("Evaluator", "rollout"),
        "synthlib.tasks": ("normalised_score",),
    },
    "Synthetic data": {
        "synthlib.generators.markov_chain": ("ChainConfig", "stream"),
        "synthlib.generators.mdp": ("MDPConfig", "generate"),
    },
    "The Decision Transformer": {
        "synthlib.dt.model": ("DTConfig", "DecisionTransformer", "load_backbone"),
        "synthlib.dt.pretraining": ("GPT2PretrainingConfig", "GPT2Pretraining"),
    },
    "CQL": {
        "synthlib.cql.agent": ("CQLConfig", "CQL"),
        "synthlib.cql.pretraining": ("CriticPretrainingConfig", "CriticPretraining"),
    },
}
"""{heading: {module: its public names}}"""

_ROLE = re.compile(r":[a-z]+:`~?([^`]+)`")
_CODE = re.compile(r"(`[^`]*`)")
_Definition = ast.FunctionDef | ast.ClassDef


def reference_page() -> str:
    """The page in MyST's Markdown. Raises ValueError for a name of :data:`NAMES` that is not in its module."""
    lines = [
        "# Reference",
        "",
        "The names that code of your own would use, with the module of each.",
    ]
    for heading, modules in NAMES.items():
        lines += ["", f"## {heading}"]
        for module, names in modules.items():
            found = _definitions(module)
            for name in names:
                if name not in found:
                    raise ValueError(f"book/reference.py: {module} has no {name}")
                lines += ["", *_entry(module, found[name])]
    return "\n".join(lines) + "\n"


def _definitions(module: str) -> dict[str, _Definition]:
    path = Path(ROOT, *module.split(".")).with_suffix(".py")
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return {one.name: one for one in body if isinstance(one, _Definition)}


def _entry(module: str, one: _Definition) -> list[str]:
    lines = [f"### {one.name}", "", "```python", f"from {module} import {one.name}", "", *_signature(one), "```", ""]
    lines += [_prose(one)]
    if isinstance(one, ast.ClassDef):
        methods = [part for part in one.body if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")]
        for method in methods:
            if first := _prose(method).partition("\n\n")[0].replace("\n", " "):
                lines += ["", f"`{one.name}.{method.name}`: {first}"]
    return lines


def _signature(one: _Definition) -> list[str]:
    """The signature of a function, or what makes an object of a class: its ``__init__``, else its fields."""
    if isinstance(one, ast.FunctionDef):
        return _call(one.name, one)
    for part in one.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return _call(one.name, part)
    fields = [ast.unparse(part) for part in one.body if isinstance(part, ast.AnnAssign)]
    return [f"class {one.name}:", *(f"    {field}" for field in fields or ["..."])]


def _call(name: str, function: ast.FunctionDef) -> list[str]:
    arguments = ast.unparse(function.args).removeprefix("self, ").removeprefix("self")
    returned = function.returns
    back = f" -> {ast.unparse(returned)}" if returned is not None and function.name != "__init__" else ""
    return [f"{name}({arguments}){back}"]


def _prose(one: _Definition) -> str:
    """The docstring as Markdown: Sphinx's roles and double backquotes become code, and nothing else has a meaning."""
    text = inspect.cleandoc(ast.get_docstring(one) or "")
    text = _ROLE.sub(lambda role: f"`{role[1].rpartition('.')[2]}`", text).replace("``", "`")
    parts = _CODE.split(text)
    return "".join(part if part.startswith("`") else re.sub(r"([{}$\[\]<>_|])", r"\\\1", part) for part in parts)
