//! Variants of the matrix products on the GPU, tiled (`shaders/lib/gemm.wgsl`) and direct (`shaders/lib/direct.wgsl`): which fit a
//! product, and which of them shapes choose.

use crate::gpu::shaders;

/// A shader variant and the outputs that one of its workgroups owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// The variant.
    pub shader: &'static str,
    /// BM.
    pub rows: usize,
    /// BN.
    pub columns: usize,
}

/// Inner indices that a workgroup goes at once: BK.
pub(crate) const STEP: usize = 16;

/// Fewer workgroups than this leave many of a GPU's cores idle: the small tile then.
const FEW: usize = 64;

/// A tile: its part of a variant's name, rows and columns.
type Size = (&'static str, usize, usize);

const SMALL: Size = ("small", 32, 32);

/// The tiles that a kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// 32 x 32.
    Small,
    /// For more rows than columns: 32 x 32, 128 x 16, 128 x 32 and 128 x 64.
    Tall,
    /// For as many of both: 32 x 32, 16 x 64 and 64 x 64.
    Square,
}

impl Sizes {
    fn all(self) -> &'static [Size] {
        match self {
            Self::Small => &[SMALL],
            Self::Tall => &[SMALL, ("narrow", 128, 16), ("medium", 128, 32), ("large", 128, 64)],
            Self::Square => &[SMALL, ("narrow", 16, 64), ("large", 64, 64)],
        }
    }

    /// Of tall tiles the narrowest that covers the columns at once, or the widest where none does; the small one where there
    /// would be [`FEW`]. Of square ones that which wastes least.
    fn choose(self, product: &Product) -> Size {
        let all = self.all();
        match (self, product.rows, product.columns) {
            (Self::Small, ..) => SMALL,
            (Self::Tall, _, columns) => {
                let tall = all[1..].iter().find(|(_, _, width)| columns <= *width).unwrap_or(&all[3]);
                let [m, n] = counts(*tall, product);
                if product.count * m * n < FEW { SMALL } else { *tall }
            }
            (Self::Square, ..=16, _) => all[1],
            (Self::Square, 33.., 33..) => all[2],
            (Self::Square, ..) => SMALL,
        }
    }
}

fn counts((_, rows, columns): Size, product: &Product) -> [usize; 2] {
    [product.rows.div_ceil(rows), product.columns.div_ceil(columns)]
}

/// What a variant asks of a product, best first: to be covered exactly; numbers in fours; nothing.
pub(crate) const FORMS: &[&str] = &["_exact", "_vec4", ""];

/// The same for convolutions by one pixel.
pub(crate) const POINTWISE: &[&str] = &["_pointwise_exact", "_pointwise", "_exact", "_vec4", ""];

/// The side of a product of which a workgroup of the direct form owns [`LONG`] numbers; of the other it owns 16 or 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Long {
    Rows,
    Columns,
}

const LONG: usize = 64;
const SHORT: [(&str, usize); 2] = [("narrow", 16), ("wide", 32)];

/// The matrix products of a launch, as their variants see them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product {
    /// How many there are.
    pub count: usize,
    /// Rows of the output.
    pub rows: usize,
    /// Columns of the output.
    pub columns: usize,
    /// Whether operands can be read, and outputs written, four numbers at a time.
    pub fours: bool,
    /// Whether every workgroup's inner indices are whole steps.
    pub steps: bool,
}

impl Product {
    /// The variants `<kernel>_<size><form>` that fit. Shapes choose the first: the size as [`Sizes`] says, and the best form.
    /// All have the same bits: an output is one chain of fused multiply-adds in all of them.
    pub fn variants(&self, kernel: &str, sizes: Sizes, forms: &[&str]) -> Vec<Tile> {
        let chosen = sizes.choose(self);
        let others = sizes.all().iter().filter(|size| **size != chosen);
        let mut tiles = Vec::new();
        for &(size, rows, columns) in std::iter::once(&chosen).chain(others) {
            let covered = self.steps && self.rows.is_multiple_of(rows) && self.columns.is_multiple_of(columns);
            for form in forms.iter().filter(|form| self.fits(form, covered)) {
                let shader = shaders::name(&format!("{kernel}_{size}{form}")).expect("every size has every form");
                tiles.push(Tile { shader, rows, columns });
            }
        }
        tiles
    }

    /// The variants `<kernel>_direct_<width>`, which fit every product: first the narrower if that covers the short side at once.
    /// They have the bits of the others. Who wants them is a matter of the device (`gpu::Choice`).
    pub fn direct(&self, kernel: &str, long: Long) -> Vec<Tile> {
        let short = if long == Long::Rows { self.columns } else { self.rows };
        let mut tiles = SHORT.map(|(name, width)| {
            let shader = shaders::name(&format!("{kernel}_direct_{name}")).expect("both widths are in the list");
            let [rows, columns] = if long == Long::Rows { [LONG, width] } else { [width, LONG] };
            Tile { shader, rows, columns }
        });
        if short > SHORT[0].1 {
            tiles.reverse();
        }
        tiles.into()
    }

    fn fits(&self, form: &str, covered: bool) -> bool {
        form.is_empty() || self.fours && (covered || !form.ends_with("exact"))
    }

    /// Workgroups that shapes alone choose for one product.
    pub fn workgroups(&self, sizes: Sizes) -> usize {
        let [m, n] = counts(sizes.choose(self), self);
        m * n
    }
}

impl Tile {
    /// Whether it multiplies on matrix units, whose sums need not associate like other variants'.
    pub fn on_matrix_units(&self) -> bool {
        self.shader.starts_with("conv2d_matrix")
    }

    /// Whether its threads exchange numbers within a subgroup: a form for CPUs that play a GPU.
    pub fn is_direct(&self) -> bool {
        self.shader.contains("_direct_")
    }

    /// Tiles along the rows and along the columns.
    pub fn counts(&self, rows: usize, columns: usize) -> [usize; 2] {
        [rows.div_ceil(self.rows), columns.div_ceil(self.columns)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT: Product = Product { count: 1, rows: 128 * 128, columns: 64, fours: true, steps: true };

    fn chosen(product: Product) -> &'static str {
        product.variants("conv2d", Sizes::Tall, FORMS)[0].shader
    }

    #[test]
    fn wide_products_get_wide_tiles_and_small_ones_the_small_tile() {
        assert_eq!(chosen(PRODUCT), "conv2d_large_exact");
        assert_eq!(chosen(Product { columns: 17, fours: false, ..PRODUCT }), "conv2d_medium");
        assert_eq!(chosen(Product { columns: 8, ..PRODUCT }), "conv2d_narrow_vec4");
        assert_eq!(chosen(Product { rows: 16 * 16, ..PRODUCT }), "conv2d_small_exact");
        assert_eq!(chosen(Product { rows: 16 * 16, count: 32, ..PRODUCT }), "conv2d_large_exact");
        assert_eq!(chosen(Product { steps: false, ..PRODUCT }), "conv2d_large_vec4");
    }

    #[test]
    fn all_that_fit_are_listed() {
        let names = |product: Product| {
            let tiles = product.variants("conv2d_grad_weight", Sizes::Square, FORMS);
            tiles.iter().map(|tile| tile.shader.trim_start_matches("conv2d_grad_weight_")).collect::<Vec<_>>()
        };
        let product = Product { rows: 16, columns: 96, ..PRODUCT };
        assert_eq!(names(product), ["narrow_vec4", "narrow", "small_vec4", "small", "large_vec4", "large"]);
        assert_eq!(names(Product { rows: 48, fours: false, ..PRODUCT }), ["large", "small", "narrow"]);
        assert_eq!(names(Product { rows: 32, ..PRODUCT })[..3], ["small_exact", "small_vec4", "small"]);
    }

    #[test]
    fn the_direct_form_is_as_wide_as_the_short_side() {
        let names = |product: Product, long| product.direct("conv2d_grad_weight", long);
        let narrow = Tile { shader: "conv2d_grad_weight_direct_narrow", rows: 64, columns: 16 };
        let wide = Tile { shader: "conv2d_grad_weight_direct_wide", rows: 64, columns: 32 };
        assert_eq!(names(PRODUCT, Long::Rows), [wide, narrow]);
        assert_eq!(names(Product { columns: 3, fours: false, ..PRODUCT }, Long::Rows), [narrow, wide]);
        let turned = |tile: Tile| Tile { rows: tile.columns, columns: tile.rows, ..tile };
        assert_eq!(names(Product { rows: 16, ..PRODUCT }, Long::Columns), [turned(narrow), turned(wide)]);
        assert!(narrow.is_direct() && !PRODUCT.variants("conv2d", Sizes::Tall, FORMS)[0].is_direct());
    }
}
