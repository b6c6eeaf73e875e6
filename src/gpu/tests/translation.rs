//! Without a device: every shader variant has a text in Metal's language, as wgpu would make it there.

use super::super::shaders::VARIANTS;
use naga::back::msl;
use naga::valid::{Capabilities, ValidationFlags, Validator};

/// The oldest language with all that shaders use, and the one that matrix units came with.
const LANGUAGE: [(u8, u8); 2] = [(2, 1), (2, 3)];

#[test]
fn every_variant_translates_to_metal() {
    let capabilities = Capabilities::SHADER_FLOAT16 | Capabilities::COOPERATIVE_MATRIX | Capabilities::SUBGROUP;
    let mut failures = Vec::new();
    // Metal's fragments have 8 rows.
    for variant in VARIANTS.iter().filter(|variant| !variant.name.ends_with("matrix16")) {
        let options = msl::Options {
            lang_version: LANGUAGE[usize::from(variant.matrix)],
            fake_missing_bindings: true,
            ..msl::Options::default()
        };
        let module = naga::front::wgsl::parse_str(variant.source).unwrap();
        let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module).unwrap();
        match msl::write_string(&module, &info, &options, &msl::PipelineOptions::default()) {
            Ok((text, _)) => assert!(text.contains("kernel void main_("), "{}", variant.name),
            Err(error) => failures.push(format!("{}: {error}", variant.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
