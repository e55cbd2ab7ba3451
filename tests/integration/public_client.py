"""Plays a client that others wrote for the same API: `browsa` 0.1.3, run with its folder first on `PYTHONPATH`.

    python public_client.py BASE_URL KEY SITE_URL MODEL_URL RECEIVER_URL

Prints what each call gave as JSON. It imports nothing of this repository, whose own package has the same name.
"""

import json
import sys

import browsa

BASE_URL, KEY, SITE, MODEL, RECEIVER = sys.argv[1:]
client = browsa.Client(KEY, base_url=BASE_URL, timeout=120)
page = f"{SITE}/hello"
gave = {}

gave["credits"] = client.credits()
agent = client.create_agent(ttl="5m", country="us", os_type="OS_TYPE_LINUX")
gave["create_agent"] = agent
gave["get_agent"] = client.get_agent(agent["id"])["status"]
gave["get_cdp_url"] = client.get_cdp_url(agent["id"])
gave["connect"] = client.connect(agent["id"])["cdp_http"]
gave["list_identities"] = [one["id"] for one in client.list_identities()]
client.destroy_agent(agent["id"])
overrides = {
    "screen_resolution": "1366x768",
    "webrtc_mode": "masked",
    "geolocation_mode": "allow",
    "geolocation_data": "40.71,-74.01",
    "media_devices_mode": "masked",
    "port_scan_protection": "masked",
}
gave["create_chosen"] = client.create_agent(
    ttl="5m", country="us", os_type="OS_TYPE_WINDOWS", ja3_profile="firefox_120", **overrides
)
chosen_id = gave["create_chosen"]["id"]
gave["fingerprint"] = client.fingerprint(chosen_id)
gave["trust_breakdown"] = client.trust_breakdown(chosen_id)
client.destroy_agent(chosen_id)
gave["destroyed"] = client.get_agent(agent["id"])["status"]

gave["scrape"] = client.scrape(page, formats=["text"])
gave["scrape_once"] = [client.scrape(page, idempotency_key="once")["agent_id"] for _ in range(2)]
accepted = client.scrape(page, async_=True)
gave["scrape_async"] = accepted["status"]
gave["scrape_done"] = client.wait_for_job(accepted["id"], poll=0).raw["result"]["url"]
gave["extract"] = client.extract(page, prompt="the heading")
gave["screenshot"] = len(client.screenshot(page, full_page=False)["screenshot_png_b64"])
batch = client.batch([page, page + "?2"], mode="extract", prompt="x")
gave["batch"] = client.wait_for_job(batch["job_id"], poll=0).raw["result"]["completed"]
crawl = client.crawl(page, max_pages=1)
gave["crawl"] = client.wait_for_job(crawl["job_id"], poll=0).raw["result"]["completed"]
gave["auto"] = client.auto(f"Go to {page} and return the text.")["routed_via"]

model = {"llm": "anthropic:claude-greet", "llm_api_key": "sk-test-0123456789abcdef", "llm_base_url": MODEL}
done = client.run_task(task="Say hello.", **model, **overrides)
gave["run_task"] = [done.succeeded, done.final_result, done.framework]
asking = client.create_task(task="Ask me.", **{**model, "llm": "anthropic:claude-ask"})
while (asked := client.get_job(asking.id, wait=30)).status != "input_required":
    assert not asked.is_terminal, asked
gave["input_question"] = asked.input_question
gave["respond"] = client.respond_to_job(asking.id, "The red one.").status
gave["answered"] = client.wait_for_job(asking.id, poll=0).final_result
unwanted = client.create_task(task="Ask me.", **{**model, "llm": "anthropic:claude-ask"})
client.cancel_job(unwanted.id)
cancelled = client.wait_for_job(unwanted.id, poll=0)
gave["cancelled"] = [cancelled.status, cancelled.error_code, client.get_job_status(unwanted.id)]

hook = client.create_webhook(url=RECEIVER, events=["job.completed", "job.failed"])
gave["list_webhooks"] = [one.id for one in client.list_webhooks()] == [hook.id]
client.test_webhook(hook.id)
gave["signing_secret"] = client.get_signing_secret()
client.delete_webhook(hook.id)

key = client.mint_key(name="another")
gave["list_keys"] = len(client.list_keys())
client.revoke_key(key["id"])
gave["list_team"] = client.list_team()
gave["ledger"] = client.list_ledger(limit=3)
for name, call in {"scrape": lambda: client.scrape("ftp://x"), "get_job": lambda: client.get_job("x")}.items():
    try:
        call()
    except browsa.BrowsaError as error:
        gave[f"error_{name}"] = [error.status, error.code, bool(error.request_id)]
print(json.dumps(gave))
