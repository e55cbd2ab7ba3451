// Ideas of Puppeteer's own suite, in our own code: node peers.mjs <endpoint> <site>; prints what each idea saw as JSON.
import puppeteer from "puppeteer-core";

const [endpoint, site] = process.argv.slice(2);
const timeout = 90_000; // as tests/patience.py has it
const browser = await puppeteer.connect({ browserWSEndpoint: endpoint, defaultViewport: null, protocolTimeout: timeout });

const until = async (look) => {
  while (!(await look())) await new Promise((done) => setTimeout(done, 20));
};

const ideas = {
  async version_and_user_agent(page) {
    return [(await browser.userAgent()) === (await page.evaluate(() => navigator.userAgent)), /^Chrome\//.test(await browser.version())];
  },
  async targets_are_told(page) {
    const seen = [];
    const note = (kind) => (target) => seen.push([kind, target.type()]);
    const [created, destroyed] = [note("created"), note("destroyed")];
    browser.on("targetcreated", created).on("targetdestroyed", destroyed);
    const other = await page.browserContext().newPage();
    await other.close();
    await until(() => seen.length >= 2);
    browser.off("targetcreated", created).off("targetdestroyed", destroyed);
    return seen;
  },
  async time_zone_and_locale(page) {
    await page.emulateTimezone("Asia/Tokyo");
    const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;
    const seen = [await page.evaluate(zone)];
    await page.emulateTimezone();
    return [...seen, await page.evaluate(zone), await page.emulateTimezone("Foo/Bar").catch((error) => error.message)];
  },
  async intercepted_requests(page) {
    await page.setRequestInterception(true);
    page.on("request", (request) =>
      request.url().endsWith("/mock") ? request.respond({ status: 201, body: "mocked" }) : request.continue(),
    );
    const answer = await page.goto(site + "mock", { timeout });
    return [answer.status(), await answer.text(), await page.goto(site + "hello", { timeout }).then((one) => one.status())];
  },
  async popups(page) {
    const seen = [];
    for (let n = 0; n < 5; n++) {
      const [popup] = await Promise.all([
        new Promise((done) => page.once("popup", done)),
        page.evaluate(() => void window.open("/hello")),
      ]);
      await until(async () => (await popup.title().catch(() => "")) === "Hello");
      seen.push(await popup.evaluate(() => !!opener));
      await popup.close();
    }
    return seen;
  },
  async dialogs(page) {
    const seen = [];
    page.on("dialog", async (dialog) => {
      seen.push(dialog.type());
      await dialog.accept("answer").catch(() => {}); // Chromium may close one itself while windows change
    });
    await page.evaluate(() => void [alert("x"), confirm("x"), prompt("x")]);
    return seen;
  },
  async workers(page) {
    const [worker] = await Promise.all([
      new Promise((done) => page.once("workercreated", done)),
      page.evaluate(() => void (window.worker = new Worker("/portrait.js"))),
    ]);
    return [await worker.evaluate(() => 6 * 7), page.workers().length];
  },
};

const seen = {};
const context = await browser.createBrowserContext();
for (const [name, idea] of Object.entries(ideas)) {
  const page = await context.newPage();
  await page.goto(site + "hello", { timeout });
  seen[name] = await idea(page).catch((error) => `error: ${error.message}`);
  await page.close();
}
await context.close();
await browser.disconnect();
console.log(JSON.stringify(seen));
