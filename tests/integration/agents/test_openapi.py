"""The published document, and a bounded run of odd requests that it allows or nearly allows."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stack.harness import Stack
from tests.integration.driving import Member, answers, visit

pytestmark = pytest.mark.integration

SURFACE = {
    "/v1/agents": {"get", "post"},
    "/v1/agents/{agent_id}": {"get", "delete"},
    "/v1/agents/{agent_id}/cdp": {"get"},
    "/v1/credits": {"get"},
    "/v1/credits/ledger": {"get"},
    "/v1/keys": {"get", "post"},
    "/v1/keys/{key_id}": {"delete"},
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
FIELDS = ["ttl", "ttl_seconds", "mode", "initial_url", "country", "os_type", "persona", "warmup_recipe"]
QUIET = settings(
    max_examples=80, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def document(stack: Stack) -> dict[str, Any]:
    answer = visit(stack.api_url + "/openapi.yaml").raise_for_status()
    assert answer.headers["Content-Type"].startswith("application/yaml")
    loaded: dict[str, Any] = yaml.load(answer.text, yaml.CSafeLoader)  # Python's own takes seconds
    return loaded


def test_it_is_openapi_3_1_and_has_the_whole_surface(document: dict[str, Any], stack: Stack) -> None:
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    for path, methods in SURFACE.items():
        assert methods <= document["paths"][path].keys(), path
    assert not any(path.startswith("/internal") for path in document["paths"])
    assert document["servers"] == [{"url": stack.api_url}]
    assert visit(stack.api_url + "/openapi.json").json() == document


def test_it_names_the_errors_of_provisioning(document: dict[str, Any]) -> None:
    responses = document["paths"]["/v1/agents"]["post"]["responses"]

    assert {"201", "400", "401", "402", "429", "502", "504"} <= responses.keys()


def test_an_agent_has_the_fields_that_the_document_says(document: dict[str, Any], member: Member) -> None:
    schema = document["components"]["schemas"]["Agent"]
    agent = member.burner()
    member.delete(f"/v1/agents/{agent['id']}")

    assert set(schema["properties"]) == set(schema["required"]) == set(agent)


def test_every_reading_answers_its_documented_success(document: dict[str, Any], member: Member) -> None:
    agent = member.burner()
    key = member.get("/v1/keys").json()["keys"][0]["id"]
    for path, methods in SURFACE.items():
        if "get" in methods:
            answer = member.get(path.format(agent_id=agent["id"], key_id=key))
            assert answer.status_code == 200, path
            assert "200" in document["paths"][path]["get"]["responses"]
    member.delete(f"/v1/agents/{agent['id']}")


def test_the_docs_page_needs_no_other_host(stack: Stack) -> None:
    page = visit(stack.api_url + "/docs").raise_for_status().text

    assert "swagger" in page.lower()
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/static/"), address
        assert visit(stack.api_url + address).status_code == 200


def test_odd_bodies_never_break_the_api(member: Member, stack: Stack) -> None:
    """Each is refused by its validation: one field is always wrong, so that no browser is leased."""

    @QUIET
    @given(body=st.dictionaries(st.sampled_from(FIELDS), ODD, max_size=4))
    def ask(body: dict[str, Any]) -> None:
        country = "zz" if body.get("country") is None else body["country"]
        answer = member.post("/v1/agents", {**body, "country": country})
        assert answer.status_code == 400, answer.text
        assert answer.json()["code"] in ("BAD_REQUEST", "URL_NOT_ALLOWED")

    ask()
    assert member.credits() == (100, 0)
    assert answers(stack)


def test_odd_queries_and_ids_never_break_the_api(member: Member, stack: Stack) -> None:
    paths = ["/v1/agents", "/v1/agents/{}", "/v1/agents/{}/cdp", "/v1/credits/ledger", "/v1/keys", "/v1/keys/{}"]

    @QUIET
    @given(
        path=st.sampled_from(paths),
        method=st.sampled_from(["GET", "DELETE"]),
        part=st.text(min_size=1, max_size=30),
        query=st.dictionaries(st.sampled_from(["limit", "cursor", "mode", "x"]), st.text(max_size=30), max_size=3),
    )
    def ask(path: str, method: str, part: str, query: dict[str, str]) -> None:
        spelled = "".join(f"%{byte:02X}" for byte in part.encode("utf-8", "surrogatepass"))
        answer = member.call(method, path.format(spelled), params=query)
        assert answer.status_code in (200, 400, 404, 405), answer.text
        if not answer.is_success:
            assert answer.json()["request_id"] == answer.headers["X-Request-Id"]

    ask()
    assert answers(stack)
