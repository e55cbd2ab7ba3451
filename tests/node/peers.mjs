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
  async user_agent(page) {
    await page.setUserAgent({ userAgent: "hey" });
    await page.goto(site + "headers", { timeout });
    return [await page.evaluate(() => navigator.userAgent), JSON.parse(await page.evaluate(() => document.body.innerText))["user-agent"]];
  },
  async viewport_and_touch(page) {
    await page.setViewport({ width: 400, height: 500, hasTouch: true, deviceScaleFactor: 2 });
    return page.evaluate(() => [innerWidth, innerHeight, devicePixelRatio, "ontouchstart" in window]);
  },
  async intercepted_requests(page) {
    await page.setRequestInterception(true);
    page.on("request", (request) =>
      request.url().endsWith("/mock") ? request.respond({ status: 201, body: "mocked" }) : request.continue(),
    );
    const answer = await page.goto(site + "mock", { timeout });
    return [answer.status(), await answer.text(), await page.goto(site + "hello", { timeout }).then((one) => one.status())];
  },
  async exposed_functions_and_first_scripts(page) {
    await page.exposeFunction("add", (a, b) => a + b);
    await page.evaluateOnNewDocument(() => (window.injected = 123));
    await page.goto(site + "early", { timeout });
    return page.evaluate(async () => [await add(9, 4), window.early.injected]);
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
  async keys(page) {
    await page.goto(site + "form", { timeout });
    await page.type("textarea", "Hello!");
    await page.keyboard.down("Shift");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.up("Shift");
    await page.keyboard.press("Backspace");
    return page.$eval("textarea", (one) => one.value);
  },
  async dialogs(page) {
    const seen = [];
    page.on("dialog", async (dialog) => {
      seen.push(dialog.type());
      const answered = dialog.accept("answer");
      if (dialog.type() === "alert") await answered.catch(() => {}); // Chromium may close one itself while windows change
      else await answered;
    });
    return [await page.evaluate(() => [alert("x"), confirm("x"), prompt("x")].slice(1)), seen];
  },
  async workers(page) {
    const [worker] = await Promise.all([
      new Promise((done) => page.once("workercreated", done)),
      page.evaluate(() => void (window.worker = new Worker("/portrait.js"))),
    ]);
    return [await worker.evaluate(() => 6 * 7), page.workers().length];
  },
  async cookies(page) {
    await page.goto(site + "cookie", { timeout });
    return (await page.browserContext().cookies()).map((one) => [one.name, one.value]);
  },
};

const seen = {};
for (const [name, idea] of Object.entries(ideas)) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.goto(site + "hello", { timeout });
  seen[name] = await idea(page).catch((error) => `error: ${error.message}`);
  await context.close();
}
await browser.disconnect();
console.log(JSON.stringify(seen));
