// A client with the types of openapi-typescript: what is optional in the API is optional here, and errors are typed.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [url, key] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url, headers: { "X-API-Key": key } });

const agent = await client.POST("/v1/agents", { body: { ttl: "5m" } });
if (agent.error) throw new Error(`${agent.error.code}: ${agent.error.error}`);
const scrape = await client.POST("/v1/quick/scrape", { body: { url: "https://site.test/", formats: ["text"] } });
if (!scrape.data || !("text" in scrape.data)) throw new Error("no text");
const task: components["schemas"]["TaskRequest"] = { task: "Sort.", llm_api_key: "sk-1" }; // all others have defaults
const job = await client.POST("/v1/tasks", { body: task });
const missing = await client.GET("/v1/agents/{agent_id}", { params: { path: { agent_id: "nonsense" } } });

console.log(
  JSON.stringify({
    status: agent.data.status,
    text: scrape.data.text,
    kind: job.data?.kind,
    code: missing.error?.code,
  }),
);
