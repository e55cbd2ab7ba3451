"""schemathesis: what its generators make of the OpenAPI document, against the served API with a fake runner."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from apps.accounts.models import ApiKey
from apps.billing import services as billing
from tests.billing.conftest import stripe
from tests.cast import join
from tests.fakes.runner import FakeRunner
from tests.fakes.served import ServedApi
from tests.fakes.stripe import FakeStripe

__all__ = ["stripe"]

HERE = Path(__file__).parent
SECONDS = 110

pytestmark = pytest.mark.django_db(transaction=True)


def test_no_generated_request_finds_a_fault(runner: FakeRunner, stripe: FakeStripe, tmp_path: Path) -> None:
    member = join("schemathesis")
    credit = "so that no request of the run is refused for want of credits"
    billing.top_up(workspace_id=member.workspace.id, amount=1_000_000, reference="schemathesis", description=credit)
    own_key = ApiKey.objects.get(workspace=member.workspace)
    with ServedApi() as api:
        run = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
                *("run", f"http://127.0.0.1:{api.port}/openapi.json", "--url", f"http://127.0.0.1:{api.port}"),
                *("--header", f"X-API-Key: {member.secret}", "--max-time", str(SECONDS)),
                *("--seed", "11", "--no-color"),
            ],
            env={
                **os.environ,
                "PYTHONPATH": str(HERE),
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
                "OWN_KEY_ID": str(own_key.id),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=SECONDS + 120,
        )
    assert run.returncode == 0, run.stdout + run.stderr
