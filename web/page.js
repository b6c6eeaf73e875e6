// The page: image files in, pictures with landmarks and a table of them out.

import { Detector } from "./detector.js";
import { readGray } from "./image.js";

const element = (id) => document.getElementById(id);
const rows = new Map();
let detector;
let queue = Promise.resolve();

function say(text) {
    element("status").textContent = text;
}

function complaint(text) {
    const paragraph = document.createElement("p");
    paragraph.className = "bad";
    paragraph.textContent = text;
    return paragraph;
}

async function start() {
    try {
        detector = await Detector.open(document.baseURI);
    } catch (error) {
        element("model").textContent = "The model cannot be run here.";
        return element("status").replaceChildren(complaint(error.message));
    }
    const { kind, landmarks } = detector.model;
    element("model").textContent = `${kind} model, ${landmarks.length} landmarks, on ${detector.device}`;
    element("files").disabled = false;
    say("Ready.");
}

// Images one after another, in the order in which they came.
function take(files) {
    for (const file of files) {
        queue = queue.then(() => detect(file));
    }
}

async function detect(file) {
    say(`Looking at ${file.name} ...`);
    try {
        const image = await readGray(file);
        const begun = performance.now();
        const found = await detector.detect(image);
        const seconds = (performance.now() - begun) / 1000;
        const { width, height } = image;
        rows.set(file.name, { width, height, found });
        element("download").hidden = false;
        show(file.name, `${file.name}, ${width} x ${height}`, picture(image, found), table(found));
        say(`${file.name}: ${found.length} landmarks in ${seconds.toFixed(2)} s`);
    } catch (error) {
        rows.delete(file.name);
        show(file.name, file.name, complaint(error.message));
        say(`${file.name}: failed`);
    }
}

const color = (k, count) => `hsl(${Math.round((360 * k) / count)} 90% 55%)`;

// Puts what there is of an image where it was before, or last.
function show(name, heading, ...content) {
    const article = document.createElement("article");
    article.dataset.image = name;
    const title = document.createElement("h2");
    title.textContent = heading;
    article.append(title, ...content);
    const before = [...element("results").children].find((other) => other.dataset.image === name);
    if (before) before.replaceWith(article);
    else element("results").append(article);
}

function picture({ width, height, pixels }, found) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "The image with its landmarks, which the table lists");
    const context = canvas.getContext("2d");
    const data = context.createImageData(width, height);
    pixels.forEach((v, i) => data.data.set([255 * v, 255 * v, 255 * v, 255], 4 * i));
    context.putImageData(data, 0, 0);
    const radius = Math.max(Math.max(width, height) / 160, 2);
    found.forEach(({ point: [x, y], score }, k) => {
        context.beginPath();
        context.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI);
        context.lineWidth = radius / 2;
        context.strokeStyle = color(k, found.length);
        context.fillStyle = color(k, found.length);
        context.globalAlpha = 0.3 + 0.7 * score;
        context.fill();
        context.globalAlpha = 1;
        context.stroke();
    });
    return canvas;
}

function table(found) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    for (const text of ["landmark", "x", "y", "score"]) {
        const cell = document.createElement("th");
        cell.scope = "col";
        cell.textContent = text;
        head.append(cell);
    }
    const body = table.createTBody();
    found.forEach(({ name, point, score }, k) => {
        const row = body.insertRow();
        row.style.setProperty("--color", color(k, found.length));
        const texts = [name, point[0].toFixed(1), point[1].toFixed(1), score.toFixed(2)];
        texts.forEach((text) => (row.insertCell().textContent = text));
    });
    return table;
}

// The CSV of `onemark detect`.
function csv() {
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    const names = detector.model.landmarks;
    const header = ["image", "width", "height", ...names.flatMap((n) => [`${n}_x`, `${n}_y`, `${n}_score`])];
    const line = ([name, { width, height, found }]) => {
        return [name, width, height, ...found.flatMap(({ point, score }) => [...point, score])];
    };
    const lines = [header, ...[...rows].map(line)];
    return lines.map((cells) => cells.map((cell) => quoted(String(cell))).join(",") + "\n").join("");
}

element("files").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = "";
});
element("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "points.csv";
    link.click();
    URL.revokeObjectURL(link.href);
});
const drop = element("drop");
drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (detector) take([...event.dataTransfer.files]);
});
start();
