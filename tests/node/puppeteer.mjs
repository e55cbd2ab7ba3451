// Puppeteer on one CDP address: node puppeteer.mjs <endpoint> <page to open>; prints what it saw as JSON.
import puppeteer from "puppeteer-core";

const [endpoint, url] = process.argv.slice(2);
const timeout = 90_000; // as tests/patience.py has it
const browser = await puppeteer.connect({ browserWSEndpoint: endpoint, defaultViewport: null });
const page = (await browser.pages())[0];
await page.goto(url, { timeout });
const seen = { title: await page.title(), userAgent: await page.evaluate(() => navigator.userAgent) };
const other = await (await browser.createBrowserContext()).newPage();
await other.goto(url, { timeout });
seen.other = await other.title();
seen.screenshot = (await page.screenshot()).length;
await browser.disconnect();
console.log(JSON.stringify(seen));
