// Playwright for Node on one CDP address: node playwright.mjs <endpoint> <page to open>; prints what it saw as JSON.
import { chromium } from "playwright-core";

const [endpoint, url] = process.argv.slice(2);
const timeout = 90_000; // as tests/patience.py has it
const browser = await chromium.connectOverCDP(endpoint, { timeout });
const page = browser.contexts()[0].pages()[0];
await page.goto(url, { timeout });
const seen = { title: await page.title(), userAgent: await page.evaluate(() => navigator.userAgent) };
const other = await (await browser.newContext()).newPage();
await other.goto(url, { timeout });
seen.other = await other.title();
seen.screenshot = (await page.screenshot({ timeout })).length;
await browser.close();
console.log(JSON.stringify(seen));
