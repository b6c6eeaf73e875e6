//! Tiles of the matrix products on the GPU (`shaders/lib/gemm.wgsl`), chosen from shapes alone.

use std::cell::RefCell;

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

/// Who measures tiles may want another than the one that is chosen.
enum Survey {
    /// Remember all that could have been chosen.
    List(Vec<Tile>),
    /// Take this one.
    Force(Tile),
}

thread_local! {
    static SURVEY: RefCell<Option<Survey>> = const { RefCell::new(None) };
}

impl Tile {
    /// For `rows` x `columns` outputs of one landmark: the narrowest of three tall tiles that covers the columns at once, or the
    /// widest where none does, or the small one where tall tiles would be few. How many landmarks there are has no say, so that
    /// each gets the same kernel in whatever group it is trained.
    ///
    /// `shaders` names the variants for tiles of 32 x 32, 128 x 16, 128 x 32 and 128 x 64.
    pub fn choose(rows: usize, columns: usize, shaders: [&'static str; 4]) -> Self {
        let [small, narrow, medium, large] = shaders;
        let tiles @ [small, narrow, medium, large] = [
            Self::small(small),
            Self { shader: narrow, rows: 128, columns: 16 },
            Self { shader: medium, rows: 128, columns: 32 },
            Self { shader: large, rows: 128, columns: 64 },
        ];
        let tall = match columns {
            ..=16 => narrow,
            17..=32 => medium,
            _ => large,
        };
        let [m, n] = tall.counts(rows, columns);
        let chosen = if m * n >= FEW { tall } else { small };
        SURVEY.with_borrow_mut(|survey| match survey {
            None => chosen,
            Some(Survey::List(list)) => {
                list.extend(tiles);
                chosen
            }
            Some(Survey::Force(tile)) => {
                if shaders.contains(&tile.shader) {
                    *tile
                } else {
                    chosen
                }
            }
        })
    }

    /// 32 x 32.
    pub fn small(shader: &'static str) -> Self {
        Self { shader, rows: 32, columns: 32 }
    }

    /// Tiles along the rows and along the columns.
    pub fn counts(&self, rows: usize, columns: usize) -> [usize; 2] {
        [rows.div_ceil(self.rows), columns.div_ceil(self.columns)]
    }

    /// All tiles that the choices in `work` could have taken.
    pub fn alternatives(work: impl FnOnce()) -> Vec<Self> {
        match survey(Survey::List(Vec::new()), work) {
            ((), Survey::List(list)) => list,
            ((), Survey::Force(_)) => unreachable!("what was put there is taken back"),
        }
    }

    /// Does `work` with this tile wherever it could be chosen.
    pub fn force<R>(self, work: impl FnOnce() -> R) -> R {
        survey(Survey::Force(self), work).0
    }
}

fn survey<R>(survey: Survey, work: impl FnOnce() -> R) -> (R, Survey) {
    SURVEY.set(Some(survey));
    let result = work();
    (result, SURVEY.take().expect("surveys do not nest"))
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

    #[test]
    fn every_tile_can_be_listed_and_forced() {
        let tiles = Tile::alternatives(|| assert_eq!(choose(64 * 64, 5), "narrow"));
        assert_eq!(tiles.iter().map(|tile| tile.shader).collect::<Vec<_>>(), ["small", "narrow", "medium", "large"]);
        assert_eq!(tiles[3].force(|| choose(64 * 64, 5)), "large");
        assert_eq!(Tile::small("other").force(|| choose(64 * 64, 5)), "narrow");
        assert_eq!(choose(64 * 64, 5), "narrow");
    }
}
