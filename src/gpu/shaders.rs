//! The table of shader variants and the `Params` of each shader file, which `build.rs` makes from `shaders/`.

/// A shader variant, expanded and validated.
#[cfg(feature = "gpu")]
#[derive(Debug)]
pub(crate) struct Variant {
    /// Its name in `shaders/variants.txt`.
    pub name: &'static str,
    /// Number of storage bindings, from `@binding(1)`.
    pub storage: usize,
    /// Bytes of `Params` without `base`.
    pub params: usize,
    /// WGSL.
    pub source: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// The variant of this name.
#[cfg(feature = "gpu")]
pub(crate) fn find(name: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name)
}
