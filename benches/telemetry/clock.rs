//! The CPU time of the process and the elapsed time of a piece of work.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

#[derive(Clone, Copy, Default)]
pub struct Took {
    pub cpu: Duration,
    pub wall: Duration,
}

impl Took {
    pub fn cpu_ns_per(self, n: usize) -> f64 {
        self.cpu.as_nanos() as f64 / n as f64
    }
}

impl std::ops::Div<u32> for Took {
    type Output = Self;

    fn div(self, by: u32) -> Self {
        Self { cpu: self.cpu / by, wall: self.wall / by }
    }
}

pub fn took<T>(work: impl FnOnce() -> T) -> (T, Took) {
    let (cpu, wall) = (process_cpu(), Instant::now());
    let made = work();
    let took = Took { cpu: process_cpu().saturating_sub(cpu), wall: wall.elapsed() };
    (made, took)
}

fn process_cpu() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or_default())
}
