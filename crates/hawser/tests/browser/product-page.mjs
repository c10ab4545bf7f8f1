// Logs in as jason in a real browser and out again; prints what it saw as JSON.
//   node product-page.mjs MODULES URL SCREENSHOT
import { createRequire } from "node:module";

const [modules, url, screenshot] = process.argv.slice(2);
const { chromium } = createRequire(modules + "/")("playwright-core");

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 800 } });
const stars = async () => ((await page.locator("body").innerText()).match(/★/g) ?? []).length;

await page.goto(url);
const before = await stars();

await page.locator('input[name="username"]').first().fill("jason");
await page.locator('form[action*="login"] button, form[action*="login"] input[type="submit"]').first().click();
await page.waitForLoadState();
const asJason = await stars();
const greeting = await page.locator("body").innerText();
await page.screenshot({ path: screenshot });

await page.locator('a[href*="logout"], form[action*="logout"] button').first().click();
await page.waitForLoadState();
const after = await stars();

await browser.close();
console.log(JSON.stringify({ before, asJason, after, greetsJason: greeting.includes("jason") }));
