"""/v1/files, mostly through OpenAI's own client."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from spar_server.app import create_app
from spar_server.auth.keyring import sha256_of
from spar_server.settings import ApiKey, Settings
from tests.support.batch_server import BatchClient, Running, batch_app, line
from tests.support.pairs import scripted_pair
from tests.support.spar_serve import wait_until

MIB = 2**20


@pytest.fixture
def url(running: Running, tmp_path: Path) -> Iterator[str]:
    with running(batch_app(tmp_path, max_file_mib=2, max_key_mib=5, max_key_files=4)) as url:
        yield url


@pytest.fixture
def client(url: str) -> BatchClient:
    return BatchClient(url)


def post(
    url: str, content: bytes, content_type: str = "multipart/form-data; boundary=x", **headers: str
) -> httpx.Response:
    return httpx.post(f"{url}/v1/files", content=content, headers={"Content-Type": content_type, **headers})


def field(name: str, value: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + value + b"\r\n"


def form(*fields: bytes) -> bytes:
    return b"".join(fields) + b"--x--\r\n"


def error(response: httpx.Response) -> tuple[int, str | None, str]:
    content = response.json()["error"]
    return response.status_code, content["param"], content["message"]


def test_a_file_is_uploaded_described_read_and_deleted(client: BatchClient) -> None:
    file = client.upload([line("a")], "requests.jsonl")
    assert (file.object, file.filename, file.purpose, file.status) == ("file", "requests.jsonl", "batch", "processed")
    files = client.openai.files
    assert files.retrieve(file.id) == file
    content = files.content(file.id)
    assert content.read().endswith(b"\n")
    assert len(content.read()) == file.bytes
    assert content.response.headers["content-disposition"] == "attachment"
    assert files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        files.delete(file.id)


def test_a_long_file_comes_back_as_it_was(client: BatchClient) -> None:
    data = bytes(range(256)) * 6000 + b"\r\n--x the end"
    file = client.openai.files.create(file=("long", data), purpose="batch")
    assert client.openai.files.content(file.id).read() == data


def test_files_are_listed_by_age_and_in_pages(client: BatchClient) -> None:
    uploaded = [client.upload([line(name)], name).id for name in "abc"]
    files = client.openai.files
    assert [each.id for each in files.list()] == uploaded[::-1]
    assert [each.id for each in files.list(order="asc", limit=2)] == uploaded
    page = files.list(limit=2)
    assert page.has_more
    assert [each.id for each in files.list(after=page.data[-1].id)] == uploaded[:1]
    assert files.list(purpose="batch_output").data == []
    with pytest.raises(openai.BadRequestError, match="after"):
        files.list(after="file-0")


def test_a_file_can_expire_sooner_than_others(client: BatchClient) -> None:
    def created(**more: Any) -> Any:
        return client.openai.files.create(file=("a", b"{}"), purpose="batch", **more)

    usual, short = created(), created(expires_after={"anchor": "created_at", "seconds": 3600})
    assert usual.expires_at - usual.created_at == 30 * 24 * 3600
    assert short.expires_at - short.created_at == 3600
    with pytest.raises(openai.BadRequestError, match=r"expires_after\[seconds\]: must be at least 3600"):
        created(expires_after={"anchor": "created_at", "seconds": 60})


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(client: BatchClient) -> None:
    with pytest.raises(openai.APIStatusError, match="over this server's limit of 2 MiB") as caught:
        client.openai.files.create(file=("big", b"x" * (2 * MIB + 1)), purpose="batch")
    assert caught.value.status_code == 413
    # A chunked body announces no length.
    body = form(field("purpose", b"batch"), field("file", b"x" * (3 * MIB), "big"))
    response = httpx.post(
        f"{client.openai.base_url}files",
        content=iter([body[: 2 * MIB], body[2 * MIB :]]),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert response.status_code == 413
    assert client.openai.files.list().data == []


def test_a_keys_files_together_have_limits(client: BatchClient) -> None:
    files = [client.openai.files.create(file=("a", b"x" * (2 * MIB)), purpose="batch") for _ in range(2)]
    with pytest.raises(openai.APIStatusError, match="over its limit of 5 MiB; delete some"):
        client.openai.files.create(file=("a", b"x" * (2 * MIB)), purpose="batch")
    client.openai.files.delete(files[0].id)
    for _ in range(3):
        client.upload([line("a")])
    with pytest.raises(openai.APIStatusError, match="has 4 files, its limit; delete some"):
        client.upload([line("a")])


@pytest.mark.parametrize(
    ("body", "status", "param", "message"),
    [
        (form(field("file", b"{}", "a")), 400, "purpose", "must be batch"),
        (form(field("purpose", b"fine-tune"), field("file", b"{}", "a")), 400, "purpose", "must be batch"),
        (form(field("purpose", b"batch")), 400, "file", "file: is needed"),
        (form(field("purpose", b"batch"), field("file", b"{}")), 400, "file", "unknown field"),
        (form(field("purpose", b"batch"), field("file", b"", "a")), 400, "file", "file: is empty"),
        (form(field("purpose", b"batch"), field("data", b"{}", "a")), 400, "data", "send it as file"),
        (form(field("purpose", b"batch"), field("file", b"{}", "a"), field("x", b"1")), 400, "x", "unknown field"),
        (form(field("purpose", b"b" * 2000)), 400, "purpose", "over 1024 bytes"),
        (form(*(field(str(number), b"") for number in range(20))), 400, None, "over 16 fields"),
        (form(field("purpose", b"batch"), field("file", b"{}", "a"))[:-6], 400, None, "ends before"),
        (b"nonsense", 400, None, "not valid"),
        (b"--x\r\nX: y\r\n\r\n\r\n--x--\r\n", 400, None, "has no name"),
    ],
)
def test_a_form_that_is_wrong_is_refused_by_name(
    url: str, body: bytes, status: int, param: str | None, message: str
) -> None:
    answered = error(post(url, body))
    assert answered[:2] == (status, param)
    assert message in answered[2]
    assert httpx.get(f"{url}/v1/files").json()["data"] == []


def test_only_a_form_is_an_upload(url: str) -> None:
    assert post(url, b"{}", "application/json").status_code == 415
    assert post(url, b"{}", "multipart/form-data").status_code == 415


def test_the_file_may_come_before_its_purpose(url: str) -> None:
    assert post(url, form(field("file", b"{}", "a"), field("purpose", b"batch"))).status_code == 200


def test_a_file_name_is_only_a_name(url: str) -> None:
    body = form(field("purpose", b"batch"), field("file", b"{}", "../x\x00\x07" + "y" * 5000))
    assert post(url, body).status_code == 400
    name = post(url, form(field("purpose", b"batch"), field("file", b"{}", "../x" + "y" * 500))).json()["filename"]
    assert name == ("../x" + "y" * 500)[:256]


def test_pages_of_other_origins_cannot_upload_where_no_key_is_needed(url: str) -> None:
    body = form(field("purpose", b"batch"), field("file", b"{}", "a"))
    assert post(url, body, Origin="https://evil.example").status_code == 403
    assert post(url, body, Origin=url).status_code == 200


def test_a_key_sees_its_own_files_only(running: Running, tmp_path: Path) -> None:
    keys = tuple(ApiKey(name=name, sha256=sha256_of(name), read_traces="all") for name in ("ann", "bob"))
    with running(batch_app(tmp_path, keys=keys)) as url:
        ann, bob = BatchClient(url, "ann"), BatchClient(url, "bob")
        file = ann.upload([line("a")])
        assert bob.openai.files.list().data == []
        for use in (bob.openai.files.retrieve, bob.openai.files.content, bob.openai.files.delete):
            with pytest.raises(openai.NotFoundError):
                use(file.id)
        with pytest.raises(openai.BadRequestError, match="input_file_id"):
            bob.openai.batches.create(input_file_id=file.id, endpoint="/v1/responses", completion_window="24h")
        assert [each.id for each in ann.openai.files.list()] == [file.id]
        assert httpx.get(f"{url}/v1/files").status_code == 401


def test_a_server_that_everyone_reaches_without_a_key_has_no_files(running: Running, tmp_path: Path) -> None:
    app = batch_app(tmp_path)
    app.state.settings = app.state.settings.model_copy(update={"host": "0.0.0.0"})
    with running(app) as url:
        assert httpx.get(f"{url}/v1/files").json()["error"]["code"] == "files_need_keys"


def test_a_server_without_batches_names_the_setting(running: Running) -> None:
    with running(create_app(Settings(), scripted_pair())) as url:
        for method, path in (("GET", "/v1/files"), ("GET", "/v1/batches/batch_0"), ("POST", "/v1/files")):
            status, _, message = error(httpx.request(method, f"{url}{path}"))
            assert status == 404
            assert "batches.enabled" in message


def test_an_upload_that_breaks_off_leaves_nothing(url: str, client: BatchClient) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    body = field("purpose", b"batch") + field("file", b"x" * (MIB // 2), "a")
    head = f"POST /v1/files HTTP/1.1\r\nHost: {host}\r\nContent-Length: {2 * MIB}\r\n"
    for _ in range(6):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + body)
    # They count until they are gone, and more than four are too many.
    wait_until(lambda: has_room_for_four(client))


def has_room_for_four(client: BatchClient) -> bool:
    try:
        for _ in range(4):
            client.upload([line("a")])
    except openai.APIStatusError:
        return False
    finally:
        for file in client.openai.files.list():
            client.openai.files.delete(file.id)
    return True
