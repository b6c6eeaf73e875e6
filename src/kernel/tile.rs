//! Tiles of the matrix products on the GPU (`shaders/lib/gemm.wgsl`), chosen from shapes alone.

#[cfg(feature = "cli")]
mod survey;

/// A shader variant and the outputs that one of its workgroups owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// The variant.
    pub shader: &'static str,
    /// BM.
    pub rows: usize,
    /// BN.
    pub columns: usize,
}

/// Fewer workgroups than this leave most GPUs idle: the small tile then.
const FEW: usize = 32;

impl Tile {
    /// For `rows` x `columns` outputs of one landmark: the narrowest of three tall tiles that covers the columns at once, or the
    /// widest where none does, or the small one where tall tiles would be few. How many landmarks there are has no say, so that
    /// each gets the same kernel in whatever group it is trained.
    ///
    /// `shaders` names the variants for tiles of 32 x 32, 128 x 16, 128 x 32 and 128 x 64.
    pub fn choose(rows: usize, columns: usize, shaders: [&'static str; 4]) -> Self {
        let [small, narrow, medium, large] = shaders;
        let tiles = [
            Self::small(small),
            Self { shader: narrow, rows: 128, columns: 16 },
            Self { shader: medium, rows: 128, columns: 32 },
            Self { shader: large, rows: 128, columns: 64 },
        ];
        let [small, narrow, medium, large] = tiles;
        let tall = match columns {
            ..=16 => narrow,
            17..=32 => medium,
            _ => large,
        };
        let [m, n] = tall.counts(rows, columns);
        let chosen = if m * n >= FEW { tall } else { small };
        #[cfg(feature = "cli")]
        let chosen = survey::answer(chosen, tiles);
        chosen
    }

    /// 32 x 32.
    pub fn small(shader: &'static str) -> Self {
        Self { shader, rows: 32, columns: 32 }
    }

    /// Tiles along the rows and along the columns.
    pub fn counts(&self, rows: usize, columns: usize) -> [usize; 2] {
        [rows.div_ceil(self.rows), columns.div_ceil(self.columns)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(rows: usize, columns: usize) -> &'static str {
        Tile::choose(rows, columns, ["small", "narrow", "medium", "large"]).shader
    }

    #[test]
    fn wide_products_get_wide_tiles_and_small_ones_the_small_tile() {
        assert_eq!(choose(64 * 64, 5), "narrow");
        assert_eq!(choose(64 * 64, 17), "medium");
        assert_eq!(choose(64 * 64, 64), "large");
        assert_eq!(choose(16 * 16, 128), "small");
        assert_eq!(choose(16 * 16, 1024), "large");
    }
}
