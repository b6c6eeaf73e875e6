//! Who measures tiles may want another than the one that is chosen: all choices of a thread can be listed, or given.

use super::Tile;
use std::cell::RefCell;

enum Survey {
    /// Remember all that could have been chosen.
    List(Vec<Tile>),
    /// Take this one.
    Force(Tile),
}

thread_local! {
    static SURVEY: RefCell<Option<Survey>> = const { RefCell::new(None) };
}

/// The tile that is taken where `chosen` would be, of these.
pub(super) fn answer(chosen: Tile, tiles: [Tile; 4]) -> Tile {
    SURVEY.with_borrow_mut(|survey| match survey {
        None => chosen,
        Some(Survey::List(list)) => {
            list.extend(tiles);
            chosen
        }
        Some(Survey::Force(tile)) if tiles.iter().any(|other| other.shader == tile.shader) => *tile,
        Some(Survey::Force(_)) => chosen,
    })
}

impl Tile {
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

    #[test]
    fn every_tile_can_be_listed_and_forced() {
        let choose = || Tile::choose(64 * 64, 5, ["small", "narrow", "medium", "large"]).shader;
        let tiles = Tile::alternatives(|| assert_eq!(choose(), "narrow"));
        assert_eq!(tiles.iter().map(|tile| tile.shader).collect::<Vec<_>>(), ["small", "narrow", "medium", "large"]);
        assert_eq!(tiles[3].force(choose), "large");
        assert_eq!(Tile::small("other").force(choose), "narrow");
        assert_eq!(choose(), "narrow");
    }
}
