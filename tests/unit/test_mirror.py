import base64
import hashlib
import json
import shutil
import subprocess
import sys

import httpx
import pytest
from moto import mock_aws

from modelyard.errors import FailedError, RefusedError
from modelyard.mirror import ecr_login, mirror, parse

TARGET = "1.dkr.ecr.us-east-1.amazonaws.com/dev/mirror"
CONFIG, MANIFEST = (f"application/vnd.oci.image.{what}.v1+json" for what in ("config", "manifest"))
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64

STAND_IN = f"""#!{sys.executable}
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
file = here / "images.json"
images = json.loads(file.read_text())
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
if config := os.environ.get("DOCKER_CONFIG"):
    (here / "config").write_text((pathlib.Path(config) / "config.json").read_text())
def digest(image):
    return image.partition("@")[2] or images.get(image)
command, image, *rest = sys.argv[1:]
if "broken" in image:
    sys.exit("first line\\nError: UNAUTHORIZED: authentication required")
if command == "digest":
    print(digest(image) or sys.exit("Error: MANIFEST_UNKNOWN"))
else:
    images[rest[0]] = digest(image)
    file.write_text(json.dumps(images))
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A `crane` that keeps its registries in a file: the folder that it is in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "crane").write_text(STAND_IN)
    (folder / "crane").chmod(0o755)
    (folder / "images.json").write_text(json.dumps({"nvcr.io/nvidia/dcgm:4.4": DIGEST}))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    return folder


def calls(tool):
    return (tool / "calls").read_text().splitlines()


def test_an_image_is_copied_by_digest_and_known_by_its_tag(tool):
    (done,) = mirror(["nvcr.io/nvidia/dcgm:4.4"], TARGET)
    assert (done.target, done.digest, done.copied) == (f"{TARGET}/nvcr.io/nvidia/dcgm:4.4", DIGEST, True)
    assert f"copy nvcr.io/nvidia/dcgm@{DIGEST} {done.target}" in calls(tool), "a tag may move while it is copied"


def test_what_is_there_already_isnt_copied_again(tool):
    list(mirror(["nvcr.io/nvidia/dcgm:4.4"], TARGET))
    (again,) = mirror(["nvcr.io/nvidia/dcgm:4.4"], TARGET)
    assert again.copied is False
    assert sum(call.startswith("copy") for call in calls(tool)) == 1


def test_a_pinned_digest_is_what_is_copied_even_if_the_tag_has_moved(tool):
    (done,) = mirror([f"nvcr.io/nvidia/dcgm:4.4@{OTHER}"], TARGET)
    assert (done.target, done.digest) == (f"{TARGET}/nvcr.io/nvidia/dcgm:4.4", OTHER)


def test_a_tag_that_holds_something_else_is_left_alone(tool):
    list(mirror(["nvcr.io/nvidia/dcgm:4.4"], TARGET))
    with pytest.raises(RefusedError, match="tags can't be moved there"):
        list(mirror([f"nvcr.io/nvidia/dcgm:4.4@{OTHER}"], TARGET))
    assert json.loads((tool / "images.json").read_text())[f"{TARGET}/nvcr.io/nvidia/dcgm:4.4"] == DIGEST


def test_an_image_without_a_tag_gets_one_because_what_has_none_is_cleared_away(tool):
    (done,) = mirror([f"gcr.io/x/y@{DIGEST}"], TARGET)
    assert done.target == f"{TARGET}/gcr.io/x/y:{'a' * 64}"


def test_an_image_that_isnt_there_is_named(tool):
    with pytest.raises(RefusedError, match="nvcr.io/nvidia/none:1 isn't there"):
        list(mirror(["nvcr.io/nvidia/none:1"], TARGET))


def test_a_registry_that_refuses_is_told_apart_from_one_that_has_no_such_image(tool):
    with pytest.raises(
        FailedError, match=r"broken:1 can't be looked up: Error: UNAUTHORIZED: authentication required$"
    ):
        list(mirror(["nvcr.io/broken:1"], TARGET))


def test_without_a_tool_one_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError, match="neither crane nor skopeo is on the PATH.*install"):
        list(mirror(["nvcr.io/nvidia/dcgm:4.4"], TARGET))


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("alpine:3", "names no image"),
        ("--help", "names no image"),
        ("nvcr.io/x y:1", "names no image"),
        ("nvcr.io/x:1@sha256:aa", "names no image"),
        ("nvcr.io/nvidia/dcgm", "has no version"),
    ],
)
def test_a_bad_reference_is_refused_before_anything_is_copied(tool, image, why):
    with pytest.raises(RefusedError, match=why):
        list(mirror(["nvcr.io/nvidia/dcgm:4.4", image], TARGET))
    assert not (tool / "calls").exists()


def test_the_login_to_ecr_is_a_user_and_a_password(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        assert ecr_login("us-east-1") == ("AWS", "123456789012-auth-token")


def test_without_credentials_the_login_fails_in_one_sentence(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FailedError, match="AWS gives no login to its registry in us-east-1: .*credentials"):
        ecr_login("us-east-1")


def test_a_registrys_port_is_told_from_a_tag():
    assert parse("localhost:5000/a:1").name == "localhost:5000/a"


def test_the_password_reaches_the_tool_by_a_private_file_and_never_by_its_command_line(tool, tmp_path):
    docker = tmp_path / ".docker"
    docker.mkdir()
    known = {"auths": {"nvcr.io": {"auth": "bnY="}}, "credsStore": "desktop"}
    (docker / "config.json").write_text(json.dumps(known))
    list(mirror(["nvcr.io/nvidia/dcgm:4.4"], TARGET, "AWS", "s3cret"))
    assert "s3cret" not in "".join(calls(tool))
    config = json.loads((tool / "config").read_text())
    host = TARGET.partition("/")[0]
    assert base64.b64decode(config["auths"][host]["auth"]) == b"AWS:s3cret"
    assert config["credHelpers"][host] == "", "or the tool would ask the user's own store, which knows nothing of it"
    assert config["auths"]["nvcr.io"] == {"auth": "bnY="}, "the publisher's own login stays"
    assert json.loads((docker / "config.json").read_text()) == known, "the user's own file is as it was"


@pytest.fixture
def registry():
    """A real registry on loopback, where crane is installed."""
    if not (crane := shutil.which("crane")):
        pytest.skip("crane, which serves a registry for this, isn't on the PATH")
    serve = [crane, "registry", "serve", "--address", "127.0.0.1:0"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        port = server.stderr.readline().split()[-1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
        server.terminate()


def push(registry, name, tag):
    """Put a small image there, and give its digest."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    described = {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}).encode()
    sent = [
        registry.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest_of(config)}, content=config),
        registry.put(f"/v2/{name}/manifests/{tag}", content=manifest, headers={"content-type": MANIFEST}),
    ]
    assert [answer.status_code for answer in sent] == [201, 201]
    return digest_of(manifest)


def digest_of(content):
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("name", ["crane", "skopeo"])
def test_a_real_tool_copies_between_real_registries_and_keeps_the_digest(registry, tmp_path, name):
    if not (found := shutil.which(name)):
        pytest.skip(f"{name} isn't on the PATH")
    (tmp_path / name).symlink_to(found)
    host = registry.base_url.netloc.decode()
    plain = tmp_path / ".config" / "containers" / "registries.conf"  # where skopeo looks, for loopback without TLS
    plain.parent.mkdir(parents=True)
    plain.write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    digest = push(registry, "publisher/tool", "1.0")

    first, again = (next(mirror([f"{host}/publisher/tool:1.0"], f"{host}/dev/mirror", environ=environ)) for _ in "ab")

    assert (first.digest, first.copied, again.copied) == (digest, True, False)
    path = first.target.removeprefix(f"{host}/").partition(":")[0]
    there = registry.head(f"/v2/{path}/manifests/1.0", headers={"accept": MANIFEST})
    assert there.headers["docker-content-digest"] == digest
    with pytest.raises(RefusedError, match="isn't there"):
        list(mirror([f"{host}/publisher/none:1.0"], f"{host}/dev/mirror", environ=environ))
