// Detects with the page of a bundle, in headless Chromium on SwiftShader's WebGPU: detect.mjs BUNDLE CSV IMAGE...
//
// The folder is served as any file server would. Images are given to the page's file input; the CSV is what its button saves.
// With SCREENSHOT set, a picture of the page at the end goes there. Needs playwright-core in target/node.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename, extname, join, normalize } from "node:path";

const require = createRequire(new URL("../../target/node/", import.meta.url));
const { chromium } = require("playwright-core");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json" };

const [bundle, csv, ...images] = process.argv.slice(2);
const server = createServer(async (request, response) => {
    try {
        const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
        const file = join(bundle, path === "/" ? "index.html" : path);
        const body = await readFile(file);
        response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
        response.writeHead(404).end();
    }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;
const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"],
});
try {
    const page = await browser.newPage({ colorScheme: process.env.COLORS ?? "light" });
    page.setDefaultTimeout(1_200_000);
    const faults = [];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && faults.push(message.text()));
    page.on("pageerror", (error) => faults.push(error.message));
    page.on("request", (request) => request.url().startsWith(origin) || faults.push(`asks for ${request.url()}`));
    await page.goto(origin);
    await page.locator("#files:enabled, .bad").first().waitFor();
    if (await page.locator("#files:enabled").count()) await page.locator("#files").setInputFiles(images);
    for (const image of images) {
        await page.locator(`article[data-image="${basename(image)}"], #status .bad`).first().waitFor();
    }
    faults.push(...(await page.locator(".bad").allTextContents()));
    if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
    if (faults.length) throw new Error(faults.join("\n"));
    const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#download").click()]);
    await download.saveAs(csv);
} finally {
    await browser.close();
    server.close();
}
