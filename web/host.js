// A WebGPU host of planned programs: buffers, pipelines and launches, as `src/gpu` has them natively.
//
// A plan is a program (its tensors, each a part of a buffer) and its launches in order: a shader, the words of its uniform
// block, the tensors it binds and a number of workgroups. Tensors live in the program's arena, which its steps reuse, or in a
// persistent buffer: the parameters or the image.

const UNIFORM_STRIDE = 256;
const MAX_GRID = 65535;
const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;

export class Host {
    #device;
    #lost;
    #sources;
    #layouts = new Map();
    #pipelines = new Map();
    #nothing;

    // `sources` gives the WGSL of a shader by its name.
    constructor(device, sources) {
        this.#device = device;
        this.#sources = sources;
        this.#nothing = device.createBuffer({ label: "nothing", size: 8 * 256, usage: STORAGE });
        device.lost.then((info) => (this.#lost = info.message || info.reason));
    }

    static async open(sources) {
        if (!navigator.gpu) {
            throw new Error("this browser has no WebGPU; use a recent Chrome, Edge, Firefox or Safari, over https or localhost");
        }
        const adapter = await navigator.gpu.requestAdapter();
        if (!adapter) {
            throw new Error("WebGPU finds no graphics adapter; see the browser's page about its GPU");
        }
        const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
        const device = await adapter.requestDevice({ requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
        const { vendor, architecture, description } = adapter.info;
        const host = new Host(device, sources);
        host.name = description || [vendor, architecture].filter(Boolean).join(" ") || "GPU";
        return host;
    }

    // A buffer that lasts, with these values.
    upload(label, values) {
        const buffer = this.buffer(label, values.length);
        this.write(buffer, 0, values);
        return buffer;
    }

    buffer(label, elements, usage = STORAGE | COPY_SRC | COPY_DST) {
        return this.#device.createBuffer({ label, size: Math.max(4 * elements, 256), usage });
    }

    write(buffer, offset, values) {
        this.#device.queue.writeBuffer(buffer, 4 * offset, values);
    }

    // A plan with everything that does not change between runs. `regions` has the persistent buffers by name.
    async load(plan, regions) {
        return this.guard(async () => {
            const { program, launches } = plan;
            const arena = this.buffer("arena", program.arena_len);
            const memory = (slot) => (slot.place === "Arena" ? arena : regions[slot.place.Region]);
            const prepared = [];
            const blocks = [];
            for (const { shader, params, slots, groups } of launches) {
                const pipeline = await this.#pipeline(shader, slots.length);
                const first = blocks.length;
                const grids = cut(groups);
                grids.forEach(({ base }) => blocks.push([base, ...params]));
                prepared.push({ pipeline, slots, first, grids });
            }
            const words = new Uint32Array((blocks.length * UNIFORM_STRIDE) / 4);
            blocks.forEach((block, i) => words.set(block, (i * UNIFORM_STRIDE) / 4));
            const uniforms = this.buffer("uniforms", words.length, UNIFORM | COPY_DST);
            this.write(uniforms, 0, words);
            for (const launch of prepared) {
                const part = (index, i) => {
                    if (index === null) return { buffer: this.#nothing, offset: 256 * i, size: 256 };
                    const slot = program.slots[index];
                    return { buffer: memory(slot), offset: 4 * slot.offset, size: 4 * span(slot) };
                };
                const entries = [{ buffer: uniforms, size: UNIFORM_STRIDE }, ...launch.slots.map(part)];
                launch.bindGroup = this.#device.createBindGroup({
                    layout: this.#layout(launch.slots.length),
                    entries: entries.map((resource, binding) => ({ binding, resource })),
                });
            }
            const outputs = program.outputs.map((i) => program.slots[i]);
            const elements = outputs.reduce((sum, slot) => sum + span(slot), 0);
            const staging = this.buffer("staging", elements, MAP_READ | COPY_DST);
            const inputs = program.inputs.map((i) => program.slots[i]);
            return { launches: prepared, arena, memory, inputs, outputs, elements, staging };
        });
    }

    // Runs a loaded plan on its inputs; returns its outputs.
    async run(loaded, inputs) {
        return this.guard(async () => {
            loaded.inputs.forEach((slot, i) => this.write(loaded.arena, slot.offset, inputs[i]));
            const encoder = this.#device.createCommandEncoder();
            const pass = encoder.beginComputePass();
            for (const { pipeline, bindGroup, first, grids } of loaded.launches) {
                pass.setPipeline(pipeline);
                grids.forEach(({ x, y }, i) => {
                    pass.setBindGroup(0, bindGroup, [(first + i) * UNIFORM_STRIDE]);
                    pass.dispatchWorkgroups(x, y);
                });
            }
            pass.end();
            let at = 0;
            for (const slot of loaded.outputs) {
                const size = 4 * span(slot);
                encoder.copyBufferToBuffer(loaded.memory(slot), 4 * slot.offset, loaded.staging, at, size);
                at += size;
            }
            this.#device.queue.submit([encoder.finish()]);
            await loaded.staging.mapAsync(GPUMapMode.READ, 0, at);
            const flat = new Float32Array(loaded.staging.getMappedRange(0, at).slice(0));
            loaded.staging.unmap();
            let rest = 0;
            return loaded.outputs.map((slot) => flat.subarray(rest, (rest += span(slot))));
        });
    }

    // What WebGPU only tells from the side becomes an exception.
    async guard(work) {
        if (this.#lost) throw new Error(`the GPU was lost (${this.#lost}); reload the page`);
        const filters = ["validation", "out-of-memory", "internal"];
        filters.forEach((filter) => this.#device.pushErrorScope(filter));
        let result, failure;
        try {
            result = await work();
        } catch (error) {
            failure = error;
        }
        const faults = await Promise.all(filters.map(() => this.#device.popErrorScope()));
        const fault = faults.find(Boolean);
        if (fault) throw new Error(`the GPU refused: ${fault.message}`);
        if (failure) throw failure;
        return result;
    }

    #layout(storage) {
        if (!this.#layouts.has(storage)) {
            const entry = (binding) => ({
                binding,
                visibility: GPUShaderStage.COMPUTE,
                buffer: binding === 0 ? { type: "uniform", hasDynamicOffset: true } : { type: "storage" },
            });
            const entries = Array.from({ length: storage + 1 }, (_, binding) => entry(binding));
            this.#layouts.set(storage, this.#device.createBindGroupLayout({ entries }));
        }
        return this.#layouts.get(storage);
    }

    async #pipeline(shader, storage) {
        if (!this.#pipelines.has(shader)) {
            const module = this.#device.createShaderModule({ label: shader, code: await this.#sources(shader) });
            const layout = this.#device.createPipelineLayout({ bindGroupLayouts: [this.#layout(storage)] });
            const pipeline = this.#device.createComputePipelineAsync({ label: shader, layout, compute: { module } });
            this.#pipelines.set(shader, await pipeline);
        }
        return this.#pipelines.get(shader);
    }
}

// Elements of a tensor from the first to the last, gaps included.
function span({ operand: { shape, k_stride } }) {
    const [k, n, h, w, c] = shape;
    return (k - 1) * k_stride + n * h * w * c;
}

// Launches of at most MAX_GRID workgroups along a side that together are `groups`, exactly.
export function cut(groups) {
    const grids = [];
    const rows = Math.floor(groups / MAX_GRID);
    const rest = groups % MAX_GRID;
    if (rows > 0) grids.push({ base: 0, x: MAX_GRID, y: rows });
    if (rest > 0) grids.push({ base: rows * MAX_GRID, x: rest, y: 1 });
    return grids;
}
