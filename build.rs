//! Expands every shader variant of `shaders/variants.txt`, validates it with naga, reflects it, and writes the typed table
//! `$OUT_DIR/shaders.rs` that `src/gpu/shaders.rs` includes.
//!
//! ```text
//! const BM: u32 = 32u; // #const      the default of a constant that a variant may replace
//! #import lib/grid                    the text of shaders/lib/grid.wgsl, once a variant
//! #if NAME / #else / #endif           by whether the variant sets NAME (to anything but `false`)
//! enable f16;                         moved to the top, wherever it stands
//! ```
//!
//! In the list, `axis tile: small | large BM=64u` is followed by `conv_<tile> = ..`, which stands for a variant of each choice,
//! here `conv_small` and `conv_large`, with the choice's constants.

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
    for (number, variant) in variants(&list)? {
        let at = |message: String| format!("shaders/variants.txt:{number}: {message}");
        if !names.insert(variant.name.clone()) {
            return Err(at(format!("a second variant {}", variant.name)));
        }
        let mut source = Source::default();
        source.add(&variant, Path::new(variant.file)).map_err(|e| at(format!("in variant {}: {e}", variant.name)))?;
        if let Some(unused) = variant.constants.keys().find(|name| !source.used.contains(**name)) {
            return Err(at(format!("{} has no #const or #if {unused}", variant.file)));
        }
        let shader = source.reflect(&variant.name)?;
        writeln!(
            table,
            "    Variant {{ name: {:?}, f16: {}, matrix: {}, storage: {}, params: {}, source: {:?} }},",
            variant.name,
            source.text.contains("enable f16;"),
            source.text.contains("enable wgpu_cooperative_matrix;"),
            shader.storage,
            4 * shader.params.len(),
            source.bare(),
        )
        .expect("a string");
        let stem = Path::new(variant.file).file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
        let known = params.entry(stem).or_insert_with(|| (variant.file.into(), shader.params.clone()));
        if known.1 != shader.params {
            return Err(at(format!("{} and {} have other Params: name the files apart", known.0, variant.file)));
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    write!(table, "];\n\npub(crate) static NAMES: &[&str] = &{names:?};\n").expect("a string");
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

/// A shader file with constants of its own.
struct Variant<'a> {
    name: String,
    file: &'a str,
    constants: Constants<'a>,
}

type Constants<'a> = BTreeMap<&'a str, &'a str>;

/// All variants of the list, each with the number of its line.
fn variants(list: &str) -> Result<Vec<(usize, Variant<'_>)>> {
    let mut axes: BTreeMap<&str, Vec<(&str, Constants)>> = BTreeMap::new();
    let mut all = Vec::new();
    for (number, line) in (1..).zip(list.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
    {
        let at = |message: &str| format!("shaders/variants.txt:{number}: {message}: {line}");
        if let Some(axis) = line.strip_prefix("axis ") {
            let (name, choices) = axis.split_once(':').ok_or_else(|| at("not `axis name: choice | choice`"))?;
            let choices = choices.split('|').map(choice).collect::<Option<_>>();
            axes.insert(name, choices.ok_or_else(|| at("a choice is not `name [CONST=value ...]`"))?);
            continue;
        }
        let variant = Variant::parse(line).ok_or_else(|| at("not `name = file.wgsl [CONST=value ...]`"))?;
        let mut expanded = vec![variant];
        while let Some((axis, _)) = expanded[0].name.split_once('<').and_then(|(_, rest)| rest.split_once('>')) {
            let choices = axes.get(axis).ok_or_else(|| at("an axis that no line above defines"))?;
            let mark = format!("<{axis}>");
            expanded =
                expanded.iter().flat_map(|variant| choices.iter().map(|choice| variant.with(&mark, choice))).collect();
        }
        all.extend(expanded.into_iter().map(|variant| (number, variant)));
    }
    Ok(all)
}

fn choice(text: &str) -> Option<(&str, Constants<'_>)> {
    let text = text.trim();
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    Some((name, constants(rest)?))
}

fn constants(text: &str) -> Option<Constants<'_>> {
    text.split_whitespace().map(|word| word.split_once('=')).collect()
}

impl<'a> Variant<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = line.split_once('=')?;
        let (file, rest) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
        Some(Self { name: name.trim().into(), file, constants: constants(rest)? })
    }

    /// The variant of a choice, whose name stands where the mark of its axis does.
    fn with(&self, mark: &str, (name, constants): &(&str, Constants<'a>)) -> Self {
        let constants = self.constants.iter().chain(constants).map(|(&name, &value)| (name, value)).collect();
        Self { name: self.name.replace(mark, name), file: self.file, constants }
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
                    kept.push(variant.constants.get(name).is_some_and(|&value| value != "false"));
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
                (Some("enable"), _) => {
                    self.text.insert_str(0, &format!("{}\n", line.trim()));
                    self.origin.insert(0, (path.clone(), number + 1));
                }
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

    /// The text without comments and indentation, which the program need not carry.
    fn bare(&self) -> String {
        let code = |line: &'_ str| line.split("//").next().unwrap_or_default().trim().to_owned();
        let lines: Vec<String> = self.text.lines().map(code).filter(|line| !line.is_empty()).collect();
        lines.join("\n")
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
        let mut validator = naga::valid::Validator::new(
            naga::valid::ValidationFlags::all(),
            naga::valid::Capabilities::SHADER_FLOAT16
                | naga::valid::Capabilities::COOPERATIVE_MATRIX
                | naga::valid::Capabilities::SUBGROUP,
        );
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
