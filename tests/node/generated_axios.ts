// The client that openapi-generator-cli makes with the specification's command (`-g typescript-axios`).
import { AgentsApi, Configuration, QuickCallsApi, TasksApi, type ScrapeResult } from "./generated";

const [url, key] = process.argv.slice(2) as [string, string];
const configuration = new Configuration({ basePath: url, apiKey: key });

async function main(): Promise<void> {
  const agent = await new AgentsApi(configuration).createAgent(undefined, { ttl: "5m" });
  const scrape = await new QuickCallsApi(configuration).quickScrape({ url: "https://site.test/", formats: ["text"] });
  const job = await new TasksApi(configuration).createTask({ task: "Sort.", llm_api_key: "sk-1" });
  const missing = await new AgentsApi(configuration).getAgent("nonsense").catch((error) => error.response);

  console.log(
    JSON.stringify({
      status: agent.data.status,
      text: (scrape.data as ScrapeResult).text,
      kind: job.data.kind,
      code: missing.data.code,
    }),
  );
}

void main();
