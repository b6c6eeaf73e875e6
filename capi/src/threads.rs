//! CPU threads of one detector. All are gone when it is closed, so that the library can be unloaded.

use crate::boundary::Failure;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::thread::JoinHandle;

pub struct Threads {
    pool: Option<ThreadPool>,
    running: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts `count` threads; one a core for 0.
    pub fn start(count: u32) -> Result<Self, Failure> {
        if count > 1024 {
            return Err(Failure::argument(format!("{count} threads are more than 1024")));
        }
        let mut threads = Self { pool: None, running: Vec::new() };
        let pool = ThreadPoolBuilder::new().num_threads(count as usize).spawn_handler(|thread| {
            let name = format!("onemark {}", thread.index());
            threads.running.push(std::thread::Builder::new().name(name).spawn(|| thread.run())?);
            Ok(())
        });
        let pool = pool.build();
        threads.pool = Some(pool.map_err(|e| Failure::argument(format!("cannot start {count} threads: {e}")))?);
        Ok(threads)
    }

    /// Works on them.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.as_ref().expect("started").install(work)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.pool.take()); // tells them to end
        for thread in self.running.drain(..) {
            drop(thread.join());
        }
    }
}
