//! Expands every shader variant of `shaders/variants.txt`, validates it with naga, reflects it, and writes the typed table
//! `$OUT_DIR/shaders.rs` that `src/gpu/shaders.rs` includes.
//!
//! ```text
//! const BM: u32 = 32u; // #const      the default of a constant that a variant may replace
//! #import lib/grid                    the text of shaders/lib/grid.wgsl, once a variant
//! #if NAME / #else / #endif           by whether the variant sets NAME (to anything but 0)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, String>;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shaders");
    if let Err(message) = generate() {
        message.lines().for_each(|line| println!("cargo::error={line}"));
        std::process::exit(1);
    }
}

fn generate() -> Result<()> {
    let list = read("shaders/variants.txt")?;
    let mut table = String::from("#[cfg(feature = \"gpu\")]\npub(crate) static VARIANTS: &[Variant] = &[\n");
    // The `Params` of each shader file, by the file's stem.
    let mut params: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (number, line) in list.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let at = |message: String| format!("shaders/variants.txt:{}: {message}", number + 1);
        let variant =
            Variant::parse(line).ok_or_else(|| at(format!("not `name = file.wgsl [CONST=value ...]`: {line}")))?;
        if !names.insert(variant.name) {
            return Err(at(format!("a second variant {}", variant.name)));
        }
        let mut source = Source::default();
        source.add(&variant, Path::new(variant.file)).map_err(|e| at(format!("in variant {}: {e}", variant.name)))?;
        if let Some(unused) = variant.constants.keys().find(|name| !source.used.contains(**name)) {
            return Err(at(format!("{} has no #const or #if {unused}", variant.file)));
        }
        let shader = source.reflect(variant.name)?;
        writeln!(
            table,
            "    Variant {{ name: {:?}, storage: {}, params: {}, source: {:?} }},",
            variant.name,
            shader.storage,
            4 * shader.params.len(),
            source.text,
        )
        .expect("a string");
        let stem = Path::new(variant.file).file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        let known = params.entry(stem).or_insert_with(|| (variant.file.into(), shader.params.clone()));
        if (known.0.as_str(), &known.1) != (variant.file, &shader.params) {
            return Err(at(format!("{} and {} need Params of their own: name the files apart", known.0, variant.file)));
        }
    }
    table.push_str("];\n");
    for (stem, (file, members)) in params {
        write!(
            table,
            "\n/// Of `shaders/{file}`.\npub(crate) mod {stem} {{\n    /// The uniform block, without `base`.\n"
        )
        .expect("a string");
        table.push_str("    #[repr(C)]\n    #[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]\n    pub(crate) struct Params {\n");
        members.iter().for_each(|member| writeln!(table, "        pub {member},").expect("a string"));
        table.push_str("    }\n}\n");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("shaders.rs");
    std::fs::write(&out, table).map_err(|e| format!("{}: {e}", out.display()))
}

fn read(path: impl AsRef<Path>) -> Result<String> {
    std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.as_ref().display()))
}

/// A line of the list.
struct Variant<'a> {
    name: &'a str,
    file: &'a str,
    constants: BTreeMap<&'a str, &'a str>,
}

impl<'a> Variant<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once('=')?;
        let mut words = rest.split_whitespace();
        let file = words.next()?;
        let constants = words.map(|word| word.split_once('=')).collect::<Option<_>>()?;
        Some(Self { name: name.trim(), file, constants })
    }
}

/// Expanded text, and where each of its lines comes from.
#[derive(Default)]
struct Source {
    text: String,
    origin: Vec<(PathBuf, usize)>,
    imported: BTreeSet<PathBuf>,
    used: BTreeSet<String>,
}

impl Source {
    fn add(&mut self, variant: &Variant, file: &Path) -> Result<()> {
        let path = Path::new("shaders").join(file);
        // Whether the lines of each open #if are kept.
        let mut kept: Vec<bool> = Vec::new();
        for (number, line) in read(&path)?.lines().enumerate() {
            let error = |what: &str| Err(format!("{}:{}: {what}: {line}", path.display(), number + 1));
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("#if"), Some(name)) => {
                    self.used.insert(name.into());
                    kept.push(variant.constants.get(name).is_some_and(|&value| value != "0"));
                }
                (Some("#else"), _) => match kept.last_mut() {
                    Some(kept) => *kept = !*kept,
                    None => return error("no open #if"),
                },
                (Some("#endif"), _) => {
                    if kept.pop().is_none() {
                        return error("no open #if");
                    }
                }
                _ if kept.contains(&false) => {}
                (Some("#import"), Some(name)) => {
                    let library = PathBuf::from(format!("{name}.wgsl"));
                    if self.imported.insert(library.clone()) {
                        self.add(variant, &library)?;
                    }
                }
                (Some(word), _) if word.starts_with('#') => return error("unknown directive"),
                (Some("const"), Some(name)) if line.contains("// #const") => {
                    let Some((left, _)) = line.split_once('=') else { return error("no `=`") };
                    let name = name.trim_end_matches(':');
                    self.used.insert(name.into());
                    match variant.constants.get(name) {
                        Some(value) => self.push(&format!("{left}= {value};"), &path, number),
                        None => self.push(line, &path, number),
                    }
                }
                _ => self.push(line, &path, number),
            }
        }
        if kept.is_empty() { Ok(()) } else { Err(format!("{}: an #if is not closed", path.display())) }
    }

    fn push(&mut self, line: &str, path: &Path, number: usize) {
        self.text.push_str(line);
        self.text.push('\n');
        self.origin.push((path.into(), number + 1));
    }

    fn reflect(&self, variant: &str) -> Result<Shader> {
        let place = |location: Option<naga::SourceLocation>| {
            let line = location.map_or(1, |l| l.line_number as usize).clamp(1, self.origin.len());
            let (path, number) = &self.origin[line - 1];
            format!("{}:{number}: in variant {variant}: ", path.display())
        };
        let module = naga::front::wgsl::parse_str(&self.text)
            .map_err(|e| place(e.location(&self.text)) + &e.emit_to_string(&self.text))?;
        let mut validator =
            naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::empty());
        validator.validate(&module).map_err(|e| place(e.location(&self.text)) + &e.emit_to_string(&self.text))?;
        Shader::new(&module).map_err(|e| place(None) + &e)
    }
}

/// What the host must know of a shader.
struct Shader {
    /// `name: type` of the members of `Params` after `base`.
    params: Vec<String>,
    /// Number of storage bindings.
    storage: usize,
}

impl Shader {
    /// Reflects a module and holds it to the crate's conventions and to wgpu's default limits.
    fn new(module: &naga::Module) -> Result<Self> {
        let [entry] = &module.entry_points[..] else { return Err("not one entry point".into()) };
        let threads: u32 = entry.workgroup_size.iter().product();
        if entry.name != "main" || threads > 256 {
            return Err(format!(
                "entry point {} with {threads} threads; `main` with at most 256 is expected",
                entry.name
            ));
        }
        let (mut params, mut bindings, mut shared) = (None, Vec::new(), 0);
        for (_, global) in module.global_variables.iter() {
            match (global.space, &global.binding) {
                (naga::AddressSpace::Uniform, Some(binding)) if (binding.group, binding.binding) == (0, 0) => {
                    params = Some(members(module, global.ty)?);
                }
                (naga::AddressSpace::Storage { access }, Some(binding)) if binding.group == 0 => {
                    if !access.contains(naga::StorageAccess::STORE) {
                        return Err(format!("binding {} is not read_write", binding.binding));
                    }
                    bindings.push(binding.binding as usize);
                }
                (naga::AddressSpace::WorkGroup, None) => {
                    shared += module.types[global.ty].inner.size(module.to_ctx());
                }
                (naga::AddressSpace::Private, None) => {}
                _ => return Err(format!("variable {:?} is neither Params, storage nor workgroup", global.name)),
            }
        }
        bindings.sort_unstable();
        if bindings != (1..=bindings.len()).collect::<Vec<_>>() || bindings.len() > 8 || shared > 16 << 10 {
            return Err(format!(
                "storage bindings {bindings:?} (at most 8, from 1), {shared} workgroup bytes (at most 16384)"
            ));
        }
        Ok(Self { params: params.ok_or("no uniform Params")?, storage: bindings.len() })
    }
}

/// The scalars of `Params` after `base`.
fn members(module: &naga::Module, ty: naga::Handle<naga::Type>) -> Result<Vec<String>> {
    let naga::TypeInner::Struct { members, .. } = &module.types[ty].inner else {
        return Err("Params is no struct".into());
    };
    let member = |member: &naga::StructMember| {
        let name = member.name.clone().unwrap_or_default();
        match module.types[member.ty].inner {
            naga::TypeInner::Scalar(naga::Scalar::U32) => Ok(format!("{name}: u32")),
            naga::TypeInner::Scalar(naga::Scalar::F32) => Ok(format!("{name}: f32")),
            _ => Err(format!("Params.{name} is neither u32 nor f32")),
        }
    };
    let members = members.iter().map(member).collect::<Result<Vec<_>>>()?;
    match members.split_first() {
        Some((base, rest)) if base == "base: u32" => Ok(rest.to_vec()),
        _ => Err("Params does not begin with base: u32".into()),
    }
}
