//! The header in `include/` is what cbindgen makes of the source. `WRITE_HEADER=1` writes it.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).expect("cbindgen.toml");
    let made = cbindgen::Builder::new().with_src(folder.join("src/lib.rs")).with_config(config).generate();
    let mut header = Vec::new();
    made.expect("a header").write(&mut header);
    let path = folder.join("include/onemark.h");
    if std::env::var_os("WRITE_HEADER").is_some() {
        std::fs::write(&path, &header).expect("the header is written");
    }
    let header = String::from_utf8(header).expect("a text");
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == header,
        "include/onemark.h is old; WRITE_HEADER=1 cargo test -p onemark-capi --test header writes it"
    );
}
