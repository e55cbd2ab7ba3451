// Playwright for Node on one CDP address: node playwright.mjs <endpoint> <page to open>; prints what it saw as JSON.
import { chromium } from "playwright-core";

const [endpoint, url] = process.argv.slice(2);
const browser = await chromium.connectOverCDP(endpoint);
const page = browser.contexts()[0].pages()[0];
await page.goto(url);
const seen = { title: await page.title(), userAgent: await page.evaluate(() => navigator.userAgent) };
const other = await (await browser.newContext()).newPage();
await other.goto(url);
seen.other = await other.title();
seen.screenshot = (await page.screenshot()).length;
await browser.close();
console.log(JSON.stringify(seen));
