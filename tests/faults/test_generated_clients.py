"""Clients that generators make of the OpenAPI document: each compiles, and makes real calls of the served API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cast import join
from tests.fakes.runner import FakeRunner
from tests.fakes.served import ServedApi
from tests.openapi import contract
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

NODE = Path(__file__).parents[1] / "node"
EXPECTED = {"status": "running", "text": "Text of https://site.test/", "kind": "task", "code": "INVALID_ID"}

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE / "node_modules" / "typescript").is_dir(),
    reason="no Node.js packages here: `make test` installs them where there is Node",
)

PYTHON_CALLS = """
import json, sys
from generated import AuthenticatedClient
from generated.api.agents import create_agent, get_agent
from generated.api.quick_calls import quick_scrape
from generated.api.tasks import create_task
from generated.models import CreateAgentRequest, ScrapeRequest, TaskRequest

with AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2]) as client:
    agent = create_agent.sync(client=client, body=CreateAgentRequest(ttl="5m"))
    scrape = quick_scrape.sync(client=client, body=ScrapeRequest(url="https://site.test/", formats=["text"]))
    job = create_task.sync(client=client, body=TaskRequest(task="Sort.", llm_api_key="sk-1"))
    missing = get_agent.sync("nonsense", client=client)
print(json.dumps({"status": agent.status, "text": scrape.text, "kind": job.kind, "code": missing.code}))
"""


@pytest.fixture
def address(runner: FakeRunner) -> Iterator[tuple[str, str]]:
    """The API's URL and a key."""
    member = join("generated")
    with ServedApi() as api:
        yield f"http://127.0.0.1:{api.port}", member.secret


@pytest.fixture
def document(db: None, tmp_path: Path) -> Path:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(contract().document))
    return file


def run(*command: str | Path, cwd: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=3 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def compiled(project: Path, source: str, *, module: str) -> Path:
    """The JavaScript of a TypeScript file of `tests/node`, under `tsc --strict`."""
    shutil.copy(NODE / source, project / source)
    (project / "node_modules").symlink_to(NODE / "node_modules")
    is_esm = module == "es2022"
    (project / "package.json").write_text(json.dumps({"type": "module" if is_esm else "commonjs"}))
    modules = ("--module", module, "--moduleResolution", "bundler" if is_esm else "node10", "--esModuleInterop")
    tsc = NODE / "node_modules" / ".bin" / "tsc"
    run(tsc, "--strict", *modules, "--target", "es2022", "--types", "node", "--outDir", "out", source, cwd=project)
    return (project / "out" / source).with_suffix(".js")


def test_openapi_python_client(address: tuple[str, str], document: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"  # JSON is YAML; of images the generator knows only bytes
    config.write_text('{"content_type_overrides": {"image/png": "application/octet-stream"}}')
    generator = ("openapi-python-client", "generate", "--path", document, "--config", config, "--meta", "none")
    run(*generator, "--output-path", tmp_path / "generated", "--fail-on-warning", cwd=tmp_path)

    assert answers_of(run(sys.executable, "-c", PYTHON_CALLS, *address, cwd=tmp_path)) == EXPECTED


@needs_node
def test_openapi_typescript(address: tuple[str, str], document: Path, tmp_path: Path) -> None:
    generator = NODE / "node_modules" / ".bin" / "openapi-typescript"
    run(generator, document, "--output", tmp_path / "schema.d.ts", cwd=tmp_path)

    script = compiled(tmp_path, "generated_fetch.ts", module="es2022")
    assert answers_of(run("node", script, *address, cwd=tmp_path)) == EXPECTED


@needs_node
def test_the_specifications_generator(address: tuple[str, str], document: Path, tmp_path: Path) -> None:
    generated = tmp_path / "generated"
    printed = run(
        "openapi-generator-cli", "generate", "-i", document, "-g", "typescript-axios", "-o", generated, cwd=tmp_path
    )
    assert "FILEPATH_COLLISION" not in printed

    script = compiled(tmp_path, "generated_axios.ts", module="commonjs")
    assert answers_of(run("node", script, *address, cwd=tmp_path)) == EXPECTED


def answers_of(printed: str) -> Any:
    return json.loads(printed.strip().splitlines()[-1])
