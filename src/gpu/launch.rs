//! How a dispatch is cut into launches: none longer than watchdogs allow, none wider than a grid may be.

/// FLOPs, or bytes if these are more, that one launch may cost: 100 ms on a device that sustains 20 GFLOP/s and 20 GB/s.
pub(super) const LAUNCH_BUDGET: u64 = 2_000_000_000;

/// The same for one submission, which some drivers watch as a whole: one second.
pub(super) const SUBMIT_BUDGET: u64 = 10 * LAUNCH_BUDGET;

/// Workgroups along one dimension of a grid.
const MAX_GRID: usize = 65_535;

/// Consecutive workgroups of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Launch {
    /// The first workgroup.
    pub base: u32,
    /// Extents along x and y; their product is the number of workgroups, exactly.
    pub grid: [u32; 2],
}

/// Cuts `groups` workgroups that cost `work` in all. No workgroup runs twice: kernels in place rely on it.
pub(super) fn cut(groups: usize, work: u64, budget: u64) -> Vec<Launch> {
    let pieces = usize::try_from(work.div_ceil(budget)).unwrap_or(usize::MAX).clamp(1, groups.max(1));
    let len = groups.div_ceil(pieces);
    let mut launches = Vec::new();
    for start in (0..groups).step_by(len.max(1)) {
        let len = len.min(groups - start);
        let rows = len / MAX_GRID;
        if rows > 0 {
            launches.push(Launch { base: start as u32, grid: [MAX_GRID as u32, rows as u32] });
        }
        let (done, rest) = (rows * MAX_GRID, len % MAX_GRID);
        if rest > 0 {
            launches.push(Launch { base: (start + done) as u32, grid: [rest as u32, 1] });
        }
    }
    launches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_cover_every_workgroup_once_and_stay_within_the_budget() {
        for groups in [0, 1, 2, 7, 65_535, 65_536, 200_000] {
            for work in [0, 1, 10, 35, 1000] {
                let mut next = 0;
                for Launch { base, grid: [x, y] } in cut(groups, work, 10) {
                    assert_eq!(base, next);
                    assert!((1..=MAX_GRID as u32).contains(&x) && (1..=MAX_GRID as u32).contains(&y));
                    let cost = work as f64 / groups as f64 * f64::from(x * y);
                    assert!(x * y == 1 || cost <= 10.0 + work as f64 / groups as f64, "{groups} {work}: {cost}");
                    next += x * y;
                }
                assert_eq!(next as usize, groups);
            }
        }
    }
}
