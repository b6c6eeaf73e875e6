// The arrangement of landmarks: see `src/learn/shape.rs` and `src/learn/shape_model.rs`. Points are [x, y].

const distance = ([px, py], [qx, qy]) => Math.hypot(px - qx, py - qy);

// `p -> [a -b; b a] p + t`
class Similarity {
    constructor(a, b, t) {
        Object.assign(this, { a, b, t });
    }

    apply([x, y]) {
        return [this.a * x - this.b * y + this.t[0], this.b * x + this.a * y + this.t[1]];
    }

    inverse() {
        const square = this.a ** 2 + this.b ** 2;
        const [a, b] = square > 1e-18 ? [this.a / square, -this.b / square] : [1, 0];
        const [x, y] = this.t;
        return new Similarity(a, b, [-(a * x - b * y), -(b * x + a * y)]);
    }

    // The weighted least-squares fit of `from` onto `to`.
    static fit(from, to, weights) {
        const total = Math.max(weights.reduce((sum, w) => sum + w, 0), 1e-12);
        const mean = (points, axis) => points.reduce((sum, p, k) => sum + weights[k] * p[axis], 0) / total;
        const [fx, fy, tx, ty] = [mean(from, 0), mean(from, 1), mean(to, 0), mean(to, 1)];
        let [dot, cross, square] = [0, 0, 0];
        weights.forEach((w, k) => {
            const [px, py, qx, qy] = [from[k][0] - fx, from[k][1] - fy, to[k][0] - tx, to[k][1] - ty];
            dot += w * (px * qx + py * qy);
            cross += w * (px * qy - py * qx);
            square += w * (px * px + py * py);
        });
        const [a, b] = square > 1e-9 ? [dot / square, cross / square] : [1, 0];
        return new Similarity(a, b, [tx - a * fx + b * fy, ty - b * fx - a * fy]);
    }
}

// Where the arrangement of matches expects the template's points; outliers hardly move it.
export function arrange(points, matches, weights, tolerance) {
    let fit = Similarity.fit(points, matches, weights);
    for (let round = 0; round < 10; round++) {
        const current = weights.map((w, k) => w / (1 + (distance(fit.apply(points[k]), matches[k]) / tolerance) ** 2));
        fit = Similarity.fit(points, matches, current);
    }
    return points.map((p) => fit.apply(p));
}

// Points weighed against each other by a shape model, and how far each may be off by what the others say, in `noise`.
export function settle({ mean, covariance, noise, apart, outlier, doubt, own, least, rounds }, points, given) {
    const n = 2 * mean.length;
    const say = (r, half, power) => 1 / (1 + (r / half) ** power);
    const align = (fit) => points.map((p, k) => fit.apply(p).map((v, axis) => v - mean[k][axis]));
    const variance = (i) => Math.max(covariance[i * (n + 1)], 0);
    const variation = mean.map((_, k) => Math.sqrt(variance(2 * k) + variance(2 * k + 1) + noise ** 2));
    const posterior = (seen, weights) => {
        const d = weights.map((w) => noise ** 2 / Math.max(w, least));
        const system = Float64Array.from(covariance);
        for (let i = 0; i < n; i++) system[i * (n + 1)] += d[i >> 1];
        const y = solve(system, seen.flat());
        return seen.map((v, k) => v.map((v, axis) => v - d[k] * y[2 * k + axis]));
    };
    let fit = Similarity.fit(points, mean, given);
    let seen = align(fit);
    let hidden = mean.map(() => [0, 0]);
    for (let round = 0; round <= rounds; round++) {
        const usual = (k) => (round === 0 ? variation[k] : noise);
        const weights = given.map((w, k) => w * say(distance(seen[k], hidden[k]) / usual(k), outlier, 2) ** 2);
        fit = Similarity.fit(points, mean, weights);
        seen = align(fit);
        hidden = posterior(seen, weights);
    }
    const back = fit.inverse();
    const residuals = seen.map((v, k) => distance(v, hidden[k]));
    const kept = residuals.map((r) => own * say(r / noise, doubt, 4));
    const blend = (k, axis) => mean[k][axis] + kept[k] * seen[k][axis] + (1 - kept[k]) * hidden[k][axis];
    return {
        points: points.map((_, k) => back.apply([blend(k, 0), blend(k, 1)])),
        deviations: residuals.map((r, k) => Math.hypot(r, apart[k]) / noise),
    };
}

// Solves `a y = b` for a symmetric positive definite `a`, whose lower triangle becomes its Cholesky factor.
function solve(a, b) {
    const n = b.length;
    const dot = (from, to, term) => {
        let sum = 0;
        for (let l = from; l < to; l++) sum += term(l);
        return sum;
    };
    for (let i = 0; i < n; i++) {
        for (let j = 0; j <= i; j++) {
            const rest = a[i * n + j] - dot(0, j, (l) => a[i * n + l] * a[j * n + l]);
            a[i * n + j] = i === j ? Math.sqrt(rest) : rest / a[j * n + j];
        }
    }
    for (let i = 0; i < n; i++) b[i] = (b[i] - dot(0, i, (l) => a[i * n + l] * b[l])) / a[i * n + i];
    for (let i = n - 1; i >= 0; i--) b[i] = (b[i] - dot(i + 1, n, (l) => a[l * n + i] * b[l])) / a[i * n + i];
    return b;
}
