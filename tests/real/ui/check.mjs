// Checks the live view in a real browser: `node check.mjs URL SCREENSHOTS [PAGE …]`. Prints each problem on a line, then
// how much was checked, and exits with 1 if there was a problem.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [start, screenshots, ...more] = process.argv.slice(2);
const origin = new URL(start).origin;
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const problems = [];
const wrong = (where, what) => problems.push(`${where}: ${what}`);

// Common screens: a wide one, a telephone, and one at 200 %.
const LOOKS = [
  { name: "wide-light", width: 1280, height: 900, scheme: "light", scale: 1 },
  { name: "wide-dark", width: 1280, height: 900, scheme: "dark", scale: 1 },
  { name: "narrow-light", width: 400, height: 800, scheme: "light", scale: 1 },
  { name: "narrow-dark", width: 400, height: 800, scheme: "dark", scale: 1 },
  { name: "zoomed-light", width: 640, height: 450, scheme: "light", scale: 2 },
];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

// On a busy machine Chromium now and then can't capture a picture that it can the next time.
async function picture(page, name, options = {}) {
  for (let left = 4; ; left -= 1) {
    try {
      return await page.screenshot({ path: join(screenshots, name), ...options });
    } catch (error) {
      if (left === 0) {
        throw error;
      }
    }
  }
}

async function open(look, url) {
  const context = await browser.newContext({
    viewport: { width: look.width, height: look.height },
    deviceScaleFactor: look.scale,
    colorScheme: look.scheme,
    reducedMotion: "reduce",
  });
  // Long, as the machine may be busy.
  context.setDefaultTimeout(180_000);
  const page = await context.newPage();
  const where = `${look.name} ${url}`;
  page.on("console", (entry) => wrong(where, `the console has ${entry.type()}: ${entry.text()}`));
  page.on("pageerror", (error) => wrong(where, `a script failed: ${error}`));
  page.on("requestfailed", (request) => wrong(where, `${request.url()} failed`));
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) wrong(where, `a request to ${request.url()}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) wrong(where, `${response.url()} is answered ${response.status()}`);
  });
  await page.goto(url, { waitUntil: "load" });
  return { page, where, close: () => context.close() };
}

// The named pages, and every page that links lead to, but at most a few of each kind.
async function pages() {
  const found = [start, ...more];
  const kinds = new Map();
  for (const url of found) {
    const { page, close } = await open(LOOKS[0], url);
    for (const href of await page.$$eval("a[href]", (links) => links.map((link) => link.href))) {
      const next = href.split("#")[0];
      const kind = new URL(next).pathname.replace(/(rooms|participants)\/[^/]+/g, "$1/*");
      const known = kinds.get(kind) ?? 0;
      // Other orders and filters of a page have the same parts.
      if (next.startsWith(start) && new URL(next).search === "" && !found.includes(next) && known < 2) {
        kinds.set(kind, known + 1);
        found.push(next);
      }
    }
    await close();
  }
  return found;
}

async function accessible({ page, where }) {
  // Evaluated, as the page's policy forbids script elements.
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
  }));
  for (const { id, help, nodes } of violations) {
    wrong(where, `axe ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
  }
  return passes.length;
}

async function fits({ page, where }) {
  const [content, window] = await page.evaluate(() => [
    document.documentElement.scrollWidth, document.documentElement.clientWidth,
  ]);
  if (content > window) wrong(where, `${content} px wide where there are ${window}`);
}

// Every link, image, table and field of a form has a name for screen readers.
async function named({ page, where }) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const counts = { link: 0, table: 0, image: 0, searchbox: 0, combobox: 0, checkbox: 0, button: 0 };
  for (const { ignored, role, name } of nodes) {
    if (ignored || !(role?.value in counts)) continue;
    counts[role.value] += 1;
    if (!name?.value) wrong(where, `a ${role.value} has no name`);
  }
  return counts;
}

// The tab key alone reaches everything that can be followed or opened, in reading order, with a visible focus.
async function keyboard({ page, where }) {
  const expected = await page.evaluate(() => {
    const all = document.querySelectorAll(
      "a[href], summary, [tabindex='0'], input:not([type='hidden']), select, button",
    );
    const shown = [...all].filter((one) => one.checkVisibility());
    shown.forEach((one, n) => { one.dataset.place = n; });
    return shown.length;
  });
  for (let n = 0; n < expected; n += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const one = document.activeElement;
      const { outlineStyle, outlineWidth } = getComputedStyle(one);
      const box = one.getBoundingClientRect();
      const seen = box.right > 0 && box.bottom > 0 && box.top < innerHeight && box.left < innerWidth;
      return { place: one.dataset.place, outline: `${outlineStyle} ${outlineWidth}`, seen, html: one.outerHTML.slice(0, 80) };
    });
    if (at.place !== String(n)) wrong(where, `tab ${n} leads to ${at.place}: ${at.html}`);
    if (at.outline.startsWith("none") || at.outline.endsWith(" 0px") || !at.seen) {
      wrong(where, `the focus on ${at.html} is not visible (${at.outline}, ${at.seen})`);
    }
  }
  return expected;
}

// A line's link shows the attributes, and the link Close hides them.
async function attributes({ page, where }, table, word) {
  const link = page.locator(`${table} a[href^='#']`).first();
  if (await link.count() === 0) return;
  const target = page.locator(await link.getAttribute("href"));
  if (await target.isVisible()) wrong(where, "attributes are visible before their link was followed");
  await link.focus();
  await page.keyboard.press("Enter");
  if (!await target.isVisible()) wrong(where, "the attributes are not shown");
  if (!(await target.innerText()).includes(word)) wrong(where, "there are no attributes");
  const name = new URL(page.url()).pathname.replaceAll("/", "_");
  await picture(page, `attributes${table}${name}.png`);
  await target.locator("a", { hasText: "Close" }).focus();
  await page.keyboard.press("Enter");
  if (await target.isVisible()) wrong(where, "the attributes are not hidden");
}

// The form is filled and sent with the keyboard alone; what it shows is in the URL.
async function filters({ page, where }) {
  await page.locator("input[name='who']").focus();
  await page.keyboard.type("CALLEE");
  await page.keyboard.press("Enter");
  await page.waitForURL((url) => url.searchParams.get("who") === "CALLEE");
  const links = await page.locator("main table a", { hasText: "callee" }).count();
  if (links === 0) wrong(where, "the filter does not show the callee");
  if (await page.locator("main", { hasText: "user-0-" }).count() > 0) wrong(where, "the filter shows others");
  const name = new URL(page.url()).pathname.replaceAll("/", "_");
  await picture(page, `filtered${name}.png`);
  await page.locator("a", { hasText: "Show all" }).click();
  if (new URL(page.url()).search !== "") wrong(where, `there still is a filter: ${page.url()}`);
}

// A head's link orders the rows, in the other direction if followed again, and keeps the filter.
async function sorts({ page, where }, head, column) {
  const values = () => page.$$eval(`.rooms table tbody tr > :nth-child(${column})`, (cells) =>
    cells.map((cell) => Number.parseInt(cell.innerText.replace(/^\d+ of /, "").replace(/[^0-9]/g, "") || "0", 10)));
  for (const [order, sign] of [["descending", -1], ["ascending", 1]]) {
    await page.locator(".rooms thead a", { hasText: head }).first().focus();
    await page.keyboard.press("Enter");
    await page.waitForLoadState("load");
    const sorted = await page.locator(`.rooms th[aria-sort="${order}"]`).first().innerText();
    if (!sorted.startsWith(head)) wrong(where, `the rooms are not ${order} by ${head}, but by ${sorted}`);
    const shown = await values();
    const wanted = [...shown].sort((a, b) => sign * (a - b));
    if (shown.join() !== wanted.join()) wrong(where, `${head} ${order}: ${shown}`);
    if (new URL(page.url()).searchParams.get("state") !== "ended") wrong(where, `no filter: ${page.url()}`);
  }
  await page.locator("a", { hasText: "Refresh every 5 s" }).click();
  const query = new URL(page.url()).searchParams;
  if (!query.has("refresh") || !query.has("sort") || !query.has("state")) wrong(where, `lost: ${page.url()}`);
}

// What does not work is above every page, with its cause.
async function banner({ page, where }, texts) {
  const shown = await page.locator("section.banner").innerText();
  for (const text of texts) if (!shown.includes(text)) wrong(where, `the banner lacks ${text}: ${shown}`);
}

async function skips({ page, where }) {
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  if (await page.evaluate(() => document.activeElement.id) !== "main") {
    wrong(where, "the first link does not skip to the content");
  }
}

const all = await pages();
const seen = { pages: all.length, looks: 0, checks: 0, tabs: 0, links: 0, tables: 0, images: 0, fields: 0, banners: 0 };
for (const url of all) {
  for (const look of LOOKS) {
    const opened = await open(look, url);
    const name = `${look.name}${new URL(url).pathname.replaceAll("/", "_")}.png`;
    await picture(opened.page, name, { fullPage: true });
    seen.looks += 1;
    seen.checks += await accessible(opened);
    await fits(opened);
    await banner(opened, ["are not delivered", "no_token"]);
    seen.banners += 1;
    if (look === LOOKS[0]) {
      const counts = await named(opened);
      seen.links += counts.link;
      seen.tables += counts.table;
      seen.images += counts.image;
      seen.fields += counts.searchbox + counts.combobox + counts.checkbox + counts.button;
      seen.tabs += await keyboard(opened);
      await attributes(opened, "table.waterfall", "lk.");
      await attributes(opened, ".turns", "Speech model");
      await attributes(opened, ".apart", "lk.");
    }
    await opened.close();
  }
}
const first = await open(LOOKS[0], start);
await skips(first);
await first.close();
for (const url of [start, `${start}/failures`]) {
  const list = await open(LOOKS[0], url);
  await filters(list);
  await list.close();
}
const ordered = await open(LOOKS[0], `${start}?state=ended`);
await sorts(ordered, "Participants", 4);
await picture(ordered.page, "sorted.png", { fullPage: true });
await ordered.close();
await browser.close();

for (const problem of problems) console.log(problem);
console.log(JSON.stringify(seen));
process.exitCode = problems.length > 0 ? 1 : 0;
