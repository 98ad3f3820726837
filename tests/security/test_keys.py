"""Keys: in no stream and no file, from the environment alone, to no host that is not allowed."""

import os
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.reliability.figures import Figure, Shows
from tests.security.canary import SECRET, hits, looked_at
from tests.security.canary_runs import CASES, run_all
from tests.security.tool import Place, to
from tests.servers.chat import ChatServer, Step


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Place]]:
    """Return what runs of all kinds have left, with a umask that takes no right away."""
    before = os.umask(0)
    yield run_all(tmp_path_factory.mktemp("canary"))
    os.umask(before)


def test_a_key_is_in_no_stream_and_no_file(places: list[Place], shows: Shows) -> None:
    searched = sum(looked_at(place.folder, place.streams) for place in places)
    found = [f"{p.folder.name}: {hit}" for p in places for hit in hits(p.folder, p.streams)]
    assert found == []
    what = f"canary key, {len(CASES)} kinds of runs"
    value = f"{searched} streams and files, {len(found)} hits"
    shows(Figure("security", what, searched, len(found), value, "0", not found))


def test_every_file_is_for_its_owner_alone_whatever_the_umask(
    places: list[Place], shows: Shows
) -> None:
    modes = {f"{p.folder.name}/{name}": mode for p in places for name, mode in p.modes().items()}
    endings = {Path(name).suffix for name in modes}
    assert endings >= {".db", ".jsonl", ".json", ".lock", ".npy", ".parquet", ".partial"}
    right = {True: 0o700, False: 0o600}
    wrong = [name for name, mode in modes.items() if mode != right[name.endswith("/")]]
    assert wrong == []
    value = f"{len(modes)} files and folders, {len(wrong)} open to others"
    shows(Figure("security", "modes under umask 0", len(modes), len(wrong), value, "0", not wrong))


NO_PLACE = [  # settings of a file, options, variables
    (f'api_key = "{SECRET}"', (), {}),
    (f'[[endpoint]]\nmodel = "openai/m"\napi_key = "{SECRET}"', (), {}),
    (f'[[endpoint]]\nmodel = "openai/m"\nbase_url = "http://u:{SECRET}@127.0.0.1:1/v1"', (), {}),
    (f'base_url = "http://127.0.0.1:1/v1?key={SECRET}"', (), {}),
    (f'api_key_env = "{SECRET}"', (), {}),
    ("", ("--api-key-env", SECRET), {}),
    ("", ("--base-url", f"http://{SECRET}@127.0.0.1:1/v1"), {}),
    ("", (), {"LLMSCALE_API_KEY": SECRET}),
]


async def test_a_key_comes_from_a_variable_and_from_nowhere_else(
    tmp_path: Path, shows: Shows
) -> None:
    bad = 0
    for number, (settings, options, variables) in enumerate(NO_PLACE):
        place = Place(tmp_path / str(number))
        place.rows(1)
        (place.folder / "llmscale.toml").write_text(settings)
        ended = await place.run(
            "run", "in.jsonl", "-v", "--model", "openai/m", *options, **variables
        )
        left = sorted(path.name for path in place.folder.iterdir())
        (place.folder / "llmscale.toml").unlink()
        shown = hits(place.folder, place.streams)
        refused = ended.returncode == 2 and len(ended.stderr.splitlines()) == 1
        assert (refused, left, shown) == (True, ["in.jsonl", "llmscale.toml"], []), ended.stderr
        bad += not refused or bool(shown)
    value = "each exit 2, one sentence, key not shown"
    shows(Figure("security", "keys in the wrong place", len(NO_PLACE), bad, value, "0", bad == 0))


async def test_a_file_in_the_folder_gives_no_key_and_is_given_none(
    tmp_path: Path, shows: Shows
) -> None:
    """0.0.0.0 stands for a foreign host: it leads to this machine and is not loopback."""
    place = Place(tmp_path)
    place.rows(1)
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={SECRET}\n")
    async with ChatServer() as server:
        foreign = server.base_url.replace("127.0.0.1", "0.0.0.0")
        files = [
            f'model = "openai/m"\nbase_url = "{foreign}"',
            f'[[endpoint]]\nmodel = "openai/m"\nbase_url = "{foreign}"\napi_key_env = "OTHER"',
            f'[[endpoint]]\nmodel = "anthropic/m"\nbase_url = "{foreign}"\napi_key_env = "OTHER"',
        ]
        for settings in files:
            (tmp_path / "llmscale.toml").write_text(settings)
            ended = await place.run("run", "in.jsonl", "-o", "no.jsonl", OTHER=SECRET)
            assert ended.returncode == 2
            assert "is not sent to 0.0.0.0" in ended.stderr
            assert "--allow-host 0.0.0.0" in ended.stderr
        (tmp_path / "llmscale.toml").unlink()
        ended = await place.run(
            "run", "in.jsonl", "-o", "no.jsonl", "--model", "openai/m", LLMSCALE_BASE_URL=foreign
        )
        assert ended.returncode == 2
        reached = server.connections
        # or all of this would show nothing
        (tmp_path / "llmscale.toml").write_text(files[0])
        run = ("run", "in.jsonl", "--cache", "off", "-o")
        await place.run(*run, "keyless.jsonl", OPENAI_API_KEY="")
        await place.run(*run, "allowed.jsonl", "--allow-host", "0.0.0.0")
        keys = [request.headers.get("authorization") for request in server.requests]
    assert keys == [None, f"Bearer {SECRET}"]
    value = f"{reached} connections"
    figure = Figure("security", "hosts no flag allows", 4, reached, value, "0", reached == 0)
    shows(figure)


def tls_server(ca: trustme.CA, name: str, *, is_expired: bool = False) -> ChatServer:
    """Return a server with a certificate of `ca` for a name."""
    ends = datetime.now(UTC) + timedelta(days=-1 if is_expired else 1)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    begins = ends - timedelta(days=9)
    ca.issue_cert(name, not_before=begins, not_after=ends).configure_cert(tls)
    return ChatServer(tls=tls)


UNVERIFIED = {  # what switches the check off, or leads elsewhere, in other programs
    "PYTHONHTTPSVERIFY": "0",
    "CURL_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
    "SSL_VERIFY": "0",
    "OPENAI_VERIFY_SSL": "false",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
}


async def test_nothing_goes_to_a_server_that_can_not_prove_who_it_is(
    tmp_path: Path, shows: Shows
) -> None:
    place = Place(tmp_path)
    place.rows(1)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusted = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    unproven = {
        "unknown": (tls_server(ca, "127.0.0.1"), UNVERIFIED),
        "other": (tls_server(ca, "other.example"), trusted | UNVERIFIED),
        "expired": (tls_server(ca, "127.0.0.1", is_expired=True), trusted | UNVERIFIED),
    }
    reached = 0
    for name, (server, variables) in unproven.items():
        async with server:
            ended = await place.run(
                "run", "in.jsonl", "-o", f"{name}.jsonl", *to(server.base_url), **variables
            )
            reached += len(server.requests)
        assert ended.returncode == 1
        assert "can't be verified" in (tmp_path / f"{name}.jsonl").read_text()
    async with tls_server(ca, "127.0.0.1") as server, ChatServer() as proxy:
        at = proxy.base_url.removesuffix("/v1")
        proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), at)
        ended = await place.run(
            *("run", "in.jsonl", "-o", "proven.jsonl", *to(server.base_url), "--cache", "off"),
            **trusted,
            **proxies,
        )
        assert (ended.returncode, len(server.requests)) == (0, 1), "or this shows nothing"
        reached += proxy.connections
    value = f"{reached} requests reached one"
    shows(Figure("security", "TLS unproven, proxies", 4, reached, value, "0", reached == 0))


async def test_a_redirect_is_not_followed(tmp_path: Path, shows: Shows) -> None:
    place = Place(tmp_path)
    statuses = (301, 302, 303, 307, 308)
    place.rows(len(statuses))
    async with ChatServer() as server, ChatServer() as other:
        server.script(Step(status=s, headers={"location": other.base_url}) for s in statuses)
        ended = await place.run("run", "in.jsonl", "-o", "o.jsonl", *to(server.base_url))
        reached = other.connections
        assert len(server.requests) == len(statuses)
    assert ended.returncode == 1
    value = f"{reached} connections to where they lead"
    shows(Figure("security", "redirects", len(statuses), reached, value, "0", reached == 0))
