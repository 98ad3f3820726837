"""Webhooks and commands get the JSON and nothing else, in bounded time; none is named in full."""

import asyncio
import time
from pathlib import Path

import pytest

from llmscale.observe.alerts import target_of, targets
from llmscale.observe.alerts.targets import DeliveryFailed, Target
from tests.platforms import needs_proc
from tests.servers.chat import ChatServer, Step

PAYLOAD = b'{"text": "alert"}'


def hook(server: ChatServer) -> Target:
    return target_of(f"{server.base_url}/services/T0KEN")


# ---- webhooks ----------------------------------------------------------------------------------


async def test_a_webhook_gets_the_json_by_post_and_no_key(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    server.script([Step(body=b"ok")])
    await hook(server).tell(PAYLOAD)
    (received,) = server.requests
    assert (received.method, received.body_bytes) == ("POST", PAYLOAD)
    assert received.path.endswith("/services/T0KEN")
    assert received.headers["content-type"] == "application/json"
    assert "sk-canary" not in str(received)


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500])
async def test_a_webhook_that_does_not_take_it_is_said_so_and_followed_nowhere(
    server: ChatServer, status: int
) -> None:
    server.script([Step(status=status, headers={"location": f"{server.base_url}/elsewhere"})])
    with pytest.raises(DeliveryFailed, match=f"^answered HTTP {status}$"):
        await hook(server).tell(PAYLOAD)
    assert len(server.requests) == 1


async def test_a_webhook_that_never_answers_is_given_up(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "WEBHOOK_TIMEOUT_S", 0.1)
    server.script([Step(hang=True)])
    with pytest.raises(DeliveryFailed, match=r"gave no answer within 0\.1 s"):
        await hook(server).tell(PAYLOAD)


async def test_a_webhook_that_is_not_there_is_said_without_its_address() -> None:
    async with ChatServer() as gone:
        target = hook(gone)
    with pytest.raises(DeliveryFailed) as error:
        await target.tell(PAYLOAD)
    assert str(error.value).startswith("can't be reached (")
    assert "T0KEN" not in str(error.value) + target.name
    assert target.name == "the webhook at 127.0.0.1"


def test_the_address_of_a_webhook_may_be_in_a_variable() -> None:
    target = target_of("env:HOOK", {"HOOK": " https://hooks.example/T0KEN\n"})
    assert target.name == "the webhook at hooks.example"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hooks.example/x", r"write http\(s\)://HOST"),
        ("ftp://hooks.example", r"write http\(s\)"),
        ("http:///x", r"write http\(s\)"),
        ("https://", r"write http\(s\)"),
        ("http://h:99999/", r"write http\(s\)"),
        ("http://[::1/", r"write http\(s\)"),
        ("http://h/\r\nx: y", r"write http\(s\)"),
        ("", r"write http\(s\)"),
        ("https://me:s3cret@hooks.example/", "must not hold a name or a password"),
        ("env:NOWHERE", "variable NOWHERE holds no address"),
        ("env:BAD", r"write http\(s\)"),
        ("exec:", "no program '' to run"),
        ("exec:no-such-program -x", "no program 'no-such-program'"),
        ("exec:'", "is no command"),
    ],
)
def test_a_target_that_can_not_be_used_is_refused_and_no_secret_is_repeated(
    text: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        target_of(text, {"BAD": "s3cret"})
    assert "s3cret" not in str(error.value)


# ---- commands ----------------------------------------------------------------------------------


async def test_a_command_gets_the_json_on_its_standard_input_and_no_shell(tmp_path: Path) -> None:
    heard = tmp_path / "heard; touch never"
    await target_of(f"exec:tee '{heard}'").tell(PAYLOAD)
    assert heard.read_bytes() == PAYLOAD
    assert [path.name for path in tmp_path.iterdir()] == [heard.name]


async def test_what_a_command_prints_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    await target_of("exec:sh -c 'cat; cat >&2; echo out; echo err >&2'").tell(PAYLOAD)
    assert capfd.readouterr() == ("", "")


async def test_a_command_that_fails_is_said_so() -> None:
    target = target_of("exec:sh -c 'exit 3'")
    assert target.name == "the command sh"
    with pytest.raises(DeliveryFailed, match=r"^ended with exit code 3$"):
        await target.tell(PAYLOAD)


async def test_a_command_may_leave_its_input_unread() -> None:
    await target_of("exec:true").tell(b"x" * 1_000_000)


@needs_proc
async def test_a_command_that_hangs_is_killed_with_all_that_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "COMMAND_TIMEOUT_S", 0.3)
    script = f"sleep 100 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(DeliveryFailed, match=r"did not end within 0\.3 s, and was killed"):
        await target_of(f"exec:sh -c '{script}'").tell(PAYLOAD)
    child = int((tmp_path / "child").read_text())
    await wait_until_gone(child)


@needs_proc
async def test_a_command_that_is_cancelled_is_killed(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid; exec sleep 100"
    telling = asyncio.create_task(target_of(f"exec:sh -c '{script}'").tell(PAYLOAD))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        await asyncio.sleep(0.01)
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    await wait_until_gone(int((tmp_path / "pid").read_text()))


async def wait_until_gone(pid: int) -> None:
    """Return when a process has ended; one that nobody waits for is none any more."""
    deadline_s = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline_s, "it lives"
        await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_a_command_that_can_not_be_started_is_said_so(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("no program\n")
    program.chmod(0o755)
    with pytest.raises(DeliveryFailed, match="can't be started"):
        await target_of(f"exec:{program}").tell(PAYLOAD)
