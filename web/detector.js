// Detection in the browser: the statements of `src/detect.rs`, with the networks run by a host from the bundle's plans.

import { Host } from "./host.js";
import { frameOf } from "./image.js";
import { arrange, settle } from "./shape.js";

const scale = (point, from, to) => point.map((v, axis) => ((v + 0.5) * to[axis]) / from[axis] - 0.5);

export class Detector {
    #files;
    #host;
    #model;
    #loaded = new Map();
    #buffers = new Map();

    // `base` is the URL of the bundle's folder.
    static async open(base) {
        const detector = new Detector();
        const files = async (name) => {
            const response = await fetch(new URL(name, base));
            if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
            return response;
        };
        detector.#files = files;
        detector.#model = await (await files("model.json")).json();
        detector.#host = await Host.open(async (name) => (await files(`shaders/${name}.wgsl`)).text());
        return detector;
    }

    get model() {
        return this.#model;
    }

    // The GPU that it runs on.
    get device() {
        return this.#host.name;
    }

    // Finds all landmarks: `{ name, point, score }` for each, the point in pixels of the image, pixel centres at integers.
    async detect(image) {
        const { kind, global_side, global_contrast, local_side, multiple, match, crop, joint } = this.#model;
        const roundUp = (v) => Math.ceil(v / multiple) * multiple;
        const global = frameOf(image, global_side, (size) => size.map(roundUp), global_contrast);
        if (kind === "joint") {
            const sights = await this.#look("joint", global, [identity()]);
            return this.#settle(sights, global, joint.sharp);
        }
        const coarse = this.#settle(await this.#matches(global), global, match.sharp);
        if (kind === "match") return coarse;
        // The frame of crops does not matter to them, so that one plan serves all.
        const local = frameOf(image, local_side, () => [roundUp(local_side), roundUp(local_side)]);
        const stored = coarse.map(({ point }) => scale(point, local.original, local.size));
        return this.#settle(await this.#lookCloser(local, stored), local, crop.sharp);
    }

    // Free matches, then matches near where their arrangement expects them.
    async #matches(global) {
        const { template, propose, global_side } = this.#model;
        await this.#run("match", global, [row(global, identity())]);
        const free = await this.#match(global, () => 0);
        if (propose.prior === 0) return free;
        const weights = free.map(({ peak }) => Math.max(peak, 1e-6));
        const points = free.map(({ point }) => point);
        const expected = arrange(template.points, points, weights, propose.outlier * global_side);
        const tolerance = propose.prior * global_side;
        const half = expected.map((p) => p.map((v) => (v + 0.5) / 2 - 0.5));
        return this.#match(global, (x, y, k) => (-2 * ((x - half[k][0]) ** 2 + (y - half[k][1]) ** 2)) / tolerance ** 2);
    }

    async #match(global, prior) {
        const { template, landmarks, match } = this.#model;
        const [width, height] = [global.width / 2, global.height / 2];
        const map = new Float32Array(width * height * landmarks.length);
        for (let y = 0, i = 0; y < height; y++) {
            for (let x = 0; x < width; x++) {
                const outside = 2 * x >= global.size[0] || 2 * y >= global.size[1];
                for (let k = 0; k < landmarks.length; k++) map[i++] = outside ? match.outside : prior(x, y, k);
            }
        }
        const features = template.features.map((level) => Float32Array.from(level));
        const [found] = await this.#run("locate", global, [map, ...features]);
        const double = (v) => (v + 0.5) * 2 - 0.5;
        return sights(found).map((s) => ({ ...s, point: s.point.map(double), spread: 2 * s.spread }));
    }

    // Once to centre, then several views whose mean is the answer.
    async #lookCloser(local, coarse) {
        const { crop, views, kind } = this.#model;
        const look = (points, view) => this.#look(kind, local, points.map((p) => similarity(crop.side, p, view)));
        const centres = (await look(coarse, views[0])).map(({ point }) => point);
        const passes = [];
        for (const view of views) passes.push(await look(centres, view));
        return centres.map((_, k) => {
            const mean = (value) => passes.reduce((sum, pass) => sum + value(pass[k]), 0) / passes.length;
            const point = [0, 1].map((axis) => mean((s) => s.point[axis]));
            const square = mean((s) => (s.point[0] - point[0]) ** 2 + (s.point[1] - point[1]) ** 2);
            return { point, spread: mean((s) => s.spread), disagreement: Math.sqrt(square) };
        });
    }

    // What a model sees in views of a frame, one for each landmark or one for all.
    async #look(name, frame, views) {
        const table = new Float32Array(views.flatMap((view) => [...row(frame, view)]));
        const [found] = await this.#run(name, frame, [table]);
        const seen = sights(found);
        return seen.map((s, k) => ({ ...s, point: transform(views[Math.min(k, views.length - 1)], s.point) }));
    }

    // Detections in the original image, weighed against each other.
    #settle(sights, frame, sharp) {
        const { shape, landmarks, sharpest } = this.#model;
        let points = sights.map(({ point }) => scale(point, frame.size, frame.original));
        const weights = sights.map((s) => Math.min(sharp / Math.max(Math.hypot(s.spread, s.disagreement), 1e-9), 1));
        let squares = weights.map((w) => (sharpest * w) ** 2);
        if (shape) {
            const settled = settle(shape, points, weights);
            points = settled.points;
            // Two landmarks have no arrangement.
            if (points.length > 2) squares = weights.map((w, k) => (sharpest * w * shape.tolerance) / settled.deviations[k]);
        }
        const scores = squares.map((square) => -Math.expm1(-square));
        const inside = (v, axis) => Math.min(Math.max(v, 0), frame.original[axis] - 1);
        return landmarks.map((name, k) => ({ name, point: points[k].map(inside), score: scores[k] }));
    }

    // Runs a plan for a frame, which shows its image to those that look at it; returns its outputs.
    async #run(name, frame, inputs) {
        const size = `${frame.width}x${frame.height}`;
        const key = `${name}-${size}`;
        if (!this.#loaded.has(key)) {
            const plan = await (await this.#files(`plans/${key}.json`)).json();
            const regions = {};
            for (const [region, elements] of Object.entries(plan.program.regions)) {
                regions[region] =
                    region === "Ema"
                        ? await this.#parameters(name === "match" ? "match.bin" : "net.bin")
                        : await this.#buffer(`${region}-${size}`, () => this.#host.buffer(region, elements));
            }
            this.#loaded.set(key, { loaded: await this.#host.load(plan, regions), image: regions.Data });
        }
        const { loaded, image } = this.#loaded.get(key);
        if (image) this.#host.write(image, 0, frame.pixels);
        return this.#host.run(loaded, inputs);
    }

    #parameters(file) {
        return this.#buffer(file, async () => {
            return this.#host.upload(file, new Float32Array(await (await this.#files(file)).arrayBuffer()));
        });
    }

    // A buffer that plans share.
    async #buffer(key, make) {
        if (!this.#buffers.has(key)) this.#buffers.set(key, await make());
        return this.#buffers.get(key);
    }
}

// An affine map from a view's pixels to stored ones, row by row; see `src/learn/augment.rs`.
const identity = () => [1, 0, 0, 0, 1, 0];

function similarity(side, [x, y], [scale, radians, dx, dy]) {
    const [sin, cos] = [scale * Math.sin(radians), scale * Math.cos(radians)];
    const c = (side - 1) / 2;
    return [cos, -sin, x + dx - cos * c + sin * c, sin, cos, y + dy - sin * c - cos * c];
}

function transform([a, b, c, d, e, f], [x, y]) {
    return [a * x + b * y + c, d * x + e * y + f];
}

// A row of the table of views, without augmentation: see `src/kernel/warp.rs`.
function row(frame, view) {
    const shown = [0, ...frame.size, ...view];
    return new Float32Array([...shown, 1, 1, 0, 0, 0, 0, 0, ...shown]);
}

function sights(found) {
    const sight = (_, i) => {
        const [x, y, peak, spread] = found.subarray(4 * i, 4 * i + 4);
        return { point: [x, y], peak, spread, disagreement: 0 };
    };
    return Array.from({ length: found.length / 4 }, sight);
}
