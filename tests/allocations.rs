//! From the second step on, training on the CPU allocates nothing, and on a GPU keeps nothing: counted by the allocator itself. Alone
//! in its program, and without a harness that prints, since it counts for the whole process.

use onemark::bench::workload::{Settings, Workload};
use onemark::cpu::CpuExecutor;
use onemark::device::Device;
use onemark::learn::config::Config;
use onemark::model::Kind;
use onemark::plan::Program;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations, and bytes that are in use.
fn counters() -> (usize, isize) {
    (CALLS.load(Relaxed), LIVE.load(Relaxed))
}

/// Networks small enough for a debug build, in which every kernel of the default configuration runs.
fn settings() -> Settings {
    let mut config = Config { global_side: 64, local_side: 96, views: 1, ..Config::default() };
    (config.matching.channels, config.matching.embedding) = (vec![4, 8, 68], 4);
    (config.crop.side, config.crop.channels) = (32, vec![4, 8, 12]);
    config.joint.channels = vec![4, 8, 12];
    Settings { config, landmarks: 3, batch: Some(3), images: 3, size: [64, 80], ..Settings::default() }
}

/// A program that runs again and again on inputs of its own.
struct Repeated {
    executor: CpuExecutor<f32>,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

impl Repeated {
    fn new(program: Program) -> Self {
        let len = |&slot: &usize| program.slots[slot].operand.shape.len();
        let inputs = program.inputs.iter().map(|slot| vec![0.5; len(slot)]).collect();
        let mut executor = CpuExecutor::new();
        executor.load(program);
        Self { executor, inputs, outputs: Vec::new() }
    }

    fn run(&mut self) {
        let mut inputs: [&[f32]; 8] = [&[]; 8];
        inputs.iter_mut().zip(&self.inputs).for_each(|(to, from)| *to = from);
        self.executor.run_into(0, &inputs[..self.inputs.len()], &mut self.outputs);
    }
}

fn main() {
    let settings = settings();
    let detection = || Workload::Detect.programs(&settings).unwrap();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            for kind in [Kind::Match, Kind::Joint, Kind::Single, Kind::Fused] {
                let steps = |_, step: onemark::bench::workload::Step| {
                    step(0)?;
                    let first = counters();
                    for number in 1..10 {
                        step(number)?;
                        assert_eq!(counters(), first, "{kind:?}, {threads} threads, step {number}");
                    }
                    Ok(())
                };
                Workload::Step(kind).with(&Device::cpu(), &settings, steps).unwrap();
            }
            for (name, program) in detection() {
                let mut repeated = Repeated::new(program);
                repeated.run();
                let first = counters();
                (1..10).for_each(|_| repeated.run());
                assert_eq!(counters(), first, "{name}, {threads} threads");
            }
        });
    }

    // A GPU's driver and API allocate for every submission, and give it back.
    let gpu = Device::select("gpu");
    assert!(gpu.is_ok() || std::env::var_os("CI").is_none(), "with CI set, a skipped GPU test is a failure");
    if let Ok((gpu, _)) = gpu {
        let steps = |_, step: onemark::bench::workload::Step| {
            (0..3).try_for_each(|number| step(number).map(drop))?;
            let first = counters().1;
            (3..13).try_for_each(|number| step(number).map(drop))?;
            let more = counters().1 - first;
            assert!(more < 1 << 14, "{more} bytes");
            Ok(())
        };
        Workload::Step(Kind::Single).with(&gpu, &settings, steps).unwrap();
    }

    // Outside a pool, the queue into it takes a block now and then, and gives one back.
    let mut repeated = Repeated::new(detection().swap_remove(1).1);
    repeated.run();
    let (calls, bytes) = counters();
    const RUNS: usize = 200;
    (0..RUNS).for_each(|_| repeated.run());
    let (more_calls, more_bytes) = (counters().0 - calls, counters().1 - bytes);
    assert!(more_calls <= RUNS / 63 + 1 && more_bytes <= 2048, "{more_calls} blocks, {more_bytes} bytes");
}
