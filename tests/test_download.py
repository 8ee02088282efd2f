"""CIFAR-10's download, from a server on this machine that fails in every way servers do.

In the place of the 170 MB stands an archive of the same form with a few images, and the checksums
of its files in that of the published ones.
"""

import gzip
import hashlib
import http.server
import io
import os
import pickle
import random
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from d2lmini import data, files

FOLDER = files.CIFAR10_FOLDER
ARCHIVE = "cifar-10-python.tar.gz"
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 3072), np.uint8)


def batches():
    """File name → bytes, as in the published archive: ten images a batch."""
    content = {
        name: {"data": IMAGES[i : i + 10], "labels": list(range(10))}
        for name, i in zip(files.CIFAR10_BATCHES[:6], range(0, 60, 10), strict=True)
    }
    content["batches.meta"] = {"label_names": [*data.CIFAR10_LABELS]}
    return {name: pickle.dumps(batch) for name, batch in content.items()}


def packed(contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted(contents):
            info = tarfile.TarInfo(f"{FOLDER}/{name}")
            info.size = len(contents[name])
            archive.addfile(info, io.BytesIO(contents[name]))
    return gzip.compress(buffer.getvalue(), mtime=0)  # the same in every process


FILES = batches()
CONTENT = packed(FILES)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}


# ---- a server ---------------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each request by the next of the server's `script`, the last one for good."""

    def do_GET(self):
        server = self.server
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        server.starts.append(start)
        answer = server.script[min(len(server.starts), len(server.script)) - 1]
        answer(self, start)

    def log_message(self, *args):
        pass

    def head(self, status, length, kind="application/gzip"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def whole(handler, start):
    handler.head(206 if start else 200, len(CONTENT) - start)
    handler.wfile.write(CONTENT[start:])


def cut(count):
    """The connection ends after so many bytes."""

    def answer(handler, start):
        handler.head(206 if start else 200, len(CONTENT) - start)
        handler.wfile.write(CONTENT[start : start + count])

    return answer


def cut_without_ranges(count):
    """It begins anew each time, and ends after so many bytes."""
    return lambda handler, start: cut(count)(handler, 0)


def error(status):
    return lambda handler, start: handler.send_error(status)


def silent(handler, start):
    """Sends a little, then nothing more."""
    handler.head(206 if start else 200, len(CONTENT) - start)
    handler.wfile.write(CONTENT[start : start + 100])
    handler.server.over.wait(60)


def quiet(handler, start):
    handler.server.over.wait(60)


def slow(handler, start):
    handler.head(206 if start else 200, len(CONTENT) - start)
    for at in range(start, len(CONTENT), 20_000):
        handler.wfile.write(CONTENT[at : at + 20_000])
        time.sleep(0.02)


def sign_in(handler, start):
    page = b"<!DOCTYPE html><title>Sign in to CampusNet</title>" * 100
    handler.head(200, len(page), "text/html; charset=utf-8")
    handler.wfile.write(page)


def other(handler, start):
    handler.head(200, len(CONTENT))
    handler.wfile.write(bytes(len(CONTENT)))


def endless(handler, start):
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(2**16))


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that has heard enough


@contextmanager
def serving(*script):
    server = Server(("127.0.0.1", 0), Handler)
    server.script, server.starts, server.over = script, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def use(server, silence=20.0):
    """What the package must know of the archive in the real one's place."""
    files.CIFAR10_URL = f"http://127.0.0.1:{server.server_port}/{ARCHIVE}"
    files.CIFAR10_BYTES, files.CIFAR10_SHA256 = len(CONTENT), SHA256
    files.DOWNLOAD_PAUSE, files.DOWNLOAD_SILENCE = 0.001, silence
    CIFAR10.train_list = [[name, MD5[name]] for name in files.CIFAR10_BATCHES[:5]]
    CIFAR10.test_list = [["test_batch", MD5["test_batch"]]]
    CIFAR10.meta = {"filename": "batches.meta", "key": "label_names", "md5": MD5["batches.meta"]}


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty home's; what `use` sets is put back afterwards."""
    for name in ("URL", "BYTES", "SHA256"):
        monkeypatch.setattr(files, f"CIFAR10_{name}", getattr(files, f"CIFAR10_{name}"))
    for name in ("PAUSE", "SILENCE"):
        monkeypatch.setattr(files, f"DOWNLOAD_{name}", getattr(files, f"DOWNLOAD_{name}"))
    for name in ("train_list", "test_list", "meta"):
        monkeypatch.setattr(CIFAR10, name, getattr(CIFAR10, name))
    monkeypatch.delenv("D2LMINI_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path / ".cache" / "d2lmini"


def check(splits):
    """All images, each with its label."""
    train, test = splits
    images = np.concatenate([train.images.numpy(), test.images.numpy()]).reshape(60, 3072)
    assert np.array_equal(images, IMAGES)
    assert [*train.labels, *test.labels] == [*range(10)] * 6


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


ALL = sorted([ARCHIVE, FOLDER, *(f"{FOLDER}/{name}" for name in FILES)])


# ---- what comes in the end --------------------------------------------------------------------


def test_the_real_archive_is_the_one_that_torchvision_knows():
    assert CIFAR10.url == files.CIFAR10_URL
    assert (CIFAR10.base_folder, CIFAR10.filename) == (files.CIFAR10_FOLDER, ARCHIVE)
    names = [name for name, _ in (*CIFAR10.train_list, *CIFAR10.test_list)]
    assert [*files.CIFAR10_BATCHES] == [*names, CIFAR10.meta["filename"]]


def test_it_is_downloaded_once_and_nothing_else_is_left(cache):
    with serving(whole) as server:
        use(server)
        check(data.cifar10())
        assert files.cifar10_is_here()
        check(data.cifar10())
        assert server.starts == [0]
    assert files_in(cache) == ALL


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(cache):
    with serving(cut(70_000), cut(1), cut(30_000), whole) as server:
        use(server)
        check(data.cifar10())
        assert server.starts == [0, 70_000, 70_001, 100_001]
    assert files_in(cache) == ALL


@pytest.mark.parametrize(
    "script",
    [
        (error(503), error(429), error(500), whole),
        (silent, quiet, silent, whole),
        (cut(150_000), error(502), sign_in, cut(10), whole),
        (cut_without_ranges(90_000), cut_without_ranges(50_000), cut_without_ranges(2**30)),
        (slow,),
    ],
    ids=["errors", "silence", "of everything something", "no ranges", "slow"],
)
def test_a_server_with_difficulties_is_asked_again(cache, script):
    with serving(*script) as server:
        use(server, silence=0.3)
        check(data.cifar10())
    assert files_in(cache) == ALL


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (error(404), "HTTP Error 404"),
        (error(503), "HTTP Error 503"),
        (quiet, "timed out"),
        (cut(0), "connection ended, at 0 of"),
        (cut_without_ranges(5_000), "connection ended, at 5,000 of"),
        (sign_in, "sign-in page"),
        (other, f"not {SHA256}"),
        (endless, f"not {SHA256}"),
        (None, "refused"),
    ],
    ids=["gone", "error", "quiet", "cut", "cut anew", "sign-in", "other", "endless", "no server"],
)
def test_a_download_that_fails_says_why_and_what_to_do_by_hand(cache, answer, why):
    with serving(answer) as server:
        use(server, silence=0.1)
        if answer is None:
            server.server_close()
        with pytest.raises(OSError, match="could not be fetched") as caught:
            data.cifar10()
    message = str(caught.value)
    for part in (why, files.CIFAR10_URL, SHA256, str(cache / ARCHIVE), "D2LMINI_DATA"):
        assert part in message
    assert files_in(cache) == []
    assert not files.cifar10_is_here()


def test_the_steps_by_hand_work(cache, tmp_path, monkeypatch):
    with serving(error(503)) as server:
        use(server)
        with pytest.raises(OSError, match="By hand"):
            data.cifar10()
        asked = len(server.starts)
        (cache / ARCHIVE).write_bytes(CONTENT)
        check(data.cifar10())
        (tmp_path / "elsewhere").mkdir()
        (cache / FOLDER).rename(tmp_path / "elsewhere" / FOLDER)
        (cache / ARCHIVE).unlink()
        monkeypatch.setenv("D2LMINI_DATA", str(tmp_path / "elsewhere"))
        check(data.cifar10())
        check(data.cifar10(root=tmp_path / "elsewhere"))
        assert len(server.starts) == asked


# ---- damage in the cache, others at work in it --------------------------------------------------


def damaged(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


DAMAGES = {"flipped": damaged, "cut": lambda c: c[:-1], "empty": lambda c: b""}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_a_damaged_cache_is_mended(cache, damage, name):
    with serving(whole) as server:
        use(server)
        data.cifar10()
        (cache / FOLDER / name).write_bytes(damage(FILES[name]))
        check(data.cifar10())
        assert server.starts == [0]  # from the archive beside it
        (cache / FOLDER / name).unlink()
        (cache / ARCHIVE).write_bytes(damage(CONTENT))
        check(data.cifar10())
        assert server.starts == [0, 0]
    assert files_in(cache) == ALL


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_in_ones_own_folder_are_named_and_left_alone(cache, tmp_path, damage):
    folder = tmp_path / "mine" / FOLDER
    folder.mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "data_batch_3").write_bytes(damage(FILES["data_batch_3"]))
    (folder / "test_batch").unlink()
    with serving(whole) as server:
        use(server)
        with pytest.raises(ValueError, match="data_batch_3 is damaged, test_batch is missing"):
            data.cifar10(root=folder.parent)
        assert server.starts == []
    assert len(files_in(folder)) == len(FILES) - 1


PROCESS = """
import sys
from types import SimpleNamespace
sys.path.insert(0, {tests!r})
import test_download as t
t.use(SimpleNamespace(server_port={port}))
t.check(t.data.cifar10())
"""


@contextmanager
def processes(server, count):
    """So many that call `cifar10()` at once; those still at it in the end are killed."""
    code = PROCESS.format(tests=str(Path(__file__).parent), port=server.server_port)
    package = str(Path(data.__file__).parents[1])
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True
        )
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stderr.close()


def test_one_process_is_killed_at_it_and_two_others_do_it_at_once(cache):
    with serving(silent, slow) as server:
        with processes(server, 1) as [process]:
            while not server.starts:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.02)
        use(server)
        assert not files.cifar10_is_here()
        with processes(server, 2) as both:
            for process in both:
                errors = process.stderr.read()
                assert process.wait() == 0, errors
        asked = len(server.starts)
        check(data.cifar10())
        assert len(server.starts) == asked
    assert set(ALL) <= set(files_in(cache))


# ---- folders that may not be written, files that may not be read --------------------------------


@pytest.fixture
def powerless():
    """A folder that whoever runs the tests may look into and nothing more, be it root."""
    if os.name == "nt":
        pytest.skip("Windows' folders have no such modes")
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), os.geteuid() == 0
        folder.chmod(0o755)

        @contextmanager
        def locked(mode=0o555):
            folder.chmod(mode)
            if root:
                os.seteuid(65534)
            try:
                yield folder
            finally:
                if root:
                    os.seteuid(0)
                folder.chmod(0o755)

        yield folder, locked


def test_a_home_that_may_not_be_written_is_told_what_to_do(cache, powerless, monkeypatch):
    home, locked = powerless
    monkeypatch.setenv("HOME", str(home))
    with serving(whole) as server:
        use(server)
        with locked(), pytest.raises(OSError, match=r"Permission denied.*D2LMINI_DATA"):
            data.cifar10()
        assert server.starts == []
    assert files_in(home) == []


def test_a_cache_that_may_only_be_read_is_read(cache, powerless, monkeypatch):
    home, locked = powerless
    monkeypatch.setenv("HOME", str(home))
    with serving(whole) as server:
        use(server)
        data.cifar10()
        with locked():
            check(data.cifar10())
        assert server.starts == [0]


def test_a_file_where_the_cache_should_be_is_told(cache):
    cache.parent.parent.joinpath(".cache").write_text("")
    with serving(whole) as server:
        use(server)
        with pytest.raises(OSError, match="could not be fetched"):
            data.cifar10()


@pytest.mark.parametrize("read", [data.fashion_mnist, data.cifar10])
def test_a_folder_that_may_not_be_read_is_a_value_error(powerless, read):
    folder, locked = powerless
    with locked(0), pytest.raises(ValueError, match="cannot be read: Permission denied") as caught:
        read(root=folder / "below")
    assert str(folder) in str(caught.value)


def test_files_that_may_not_be_read_are_named(cache, powerless):
    folder, locked = powerless
    (folder / FOLDER).mkdir()
    name = "train-images-idx3-ubyte"
    for path in (folder / name, folder / "cifar10.npz", folder / FOLDER / "data_batch_2"):
        path.touch()
        path.chmod(0)
    with locked():
        with pytest.raises(ValueError, match=f"{name} cannot be read"):
            data.fashion_mnist(root=folder)
        with pytest.raises(ValueError, match=r"cifar10\.npz is not a readable"):
            data.cifar10(root=folder)
    (folder / "cifar10.npz").unlink()
    with locked(), pytest.raises(ValueError, match=r"data_batch_2 cannot be read \(Permission"):
        data.cifar10(root=folder)


@pytest.mark.soak
def test_a_server_that_fails_at_random_is_outlasted(cache):
    """A hundred downloads, each from a server of its own bad luck."""
    luck = random.Random(0)
    faults = [error(503), sign_in, cut(0), cut(1), cut(20_000), cut_without_ranges(60_000)]
    for _ in range(100):
        script = [luck.choice([*faults, cut(luck.randrange(len(CONTENT)))]) for _ in range(4)]
        with serving(*script, whole) as server:
            use(server)
            files._fetch_cifar10(cache)
            check(files._cifar10_from_batches(cache))
        (cache / ARCHIVE).unlink()
