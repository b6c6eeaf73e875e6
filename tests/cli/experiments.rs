//! `experiments/run`: a row is trained, scored and put into a table; what rows have in common is trained once.

use crate::fixture::{Fixture, TINY, ok, skipped, stderr};
use onemark::data::labels::Labels;
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A Python that has `tomllib`.
fn python() -> Option<&'static str> {
    let knows = |program: &&str| {
        Command::new(program).args(["-c", "import tomllib"]).output().is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "python3.13", "python3.12", "python3.11"].into_iter().find(knows);
    if found.is_none() {
        // Not `println!`, which the test runner keeps to itself unless a test fails.
        skipped("no Python 3.11");
    }
    found
}

fn run(python: &str, folder: &Path, args: &[&str]) -> Output {
    let script = format!("{ROOT}/experiments/run");
    Command::new(python).arg(script).args(args).current_dir(folder).output().unwrap()
}

/// The folder that `--data` names: images 0 to 3 for the training, the others for the test.
fn data(f: &Fixture, folder: &Path, spacing: Option<[f64; 2]>) {
    std::fs::create_dir_all(folder.join("images")).unwrap();
    let mut truth = Labels::read(f.path("truth.csv")).unwrap();
    truth.rows.iter_mut().for_each(|row| row.spacing = spacing);
    for row in &truth.rows {
        std::fs::copy(f.root.join("images").join(&row.image), folder.join("images").join(&row.image)).unwrap();
    }
    let part = |rows: std::ops::Range<usize>, name: &str| {
        Labels { names: truth.names.clone(), rows: truth.rows[rows].to_vec() }.write(folder.join(name)).unwrap();
    };
    part(0..4, "truth_train.csv");
    part(4..6, "truth_test1.csv");
    part(0..1, "template_p0.csv");
    part(1..2, "template_p1.csv");
}

#[test]
fn rows_are_trained_scored_and_put_into_a_table() {
    let Some(python) = python() else { return };
    let f = Fixture::get();
    let folder = f.root.join("experiments");
    let _ = std::fs::remove_dir_all(&folder);
    data(f, &folder.join("data"), None);
    let settings: Vec<String> = TINY.iter().map(|setting| format!("{setting:?}")).collect();
    let skip = Labels::read(f.path("truth.csv")).unwrap().names[0].clone();
    let file = format!(
        "question = \"Rank?\"\nskip = [{skip:?}]\nper_landmark = true\nstages = [\"match\", \"joint\", \"single\", \"fuse\"]\n\
         templates = [\"p0\"]\nsettings = [{}]\n[data]\nspacing = 0.5\n\
         [[row]]\nname = \"four\"\ntemplates = [\"p0\", \"p1\"]\n[[row]]\nname = \"none\"\nabout = \"norms and heads alone\"\n\
         settings = [\"fuse.rank=0\"]\n[[row]]\nname = \"few\"\nimages = 3\nstages = [\"match\"]\n",
        settings.join(", ")
    );
    std::fs::write(folder.join("rank.toml"), &file).unwrap();
    let listed = ok(run(python, &folder, &["rank.toml", "--list", "--rows", "none"]));
    assert!(String::from_utf8_lossy(&listed.stdout).ends_with("--set fuse.snapshots=4 --set fuse.rank=0\n"));
    let program = env!("CARGO_BIN_EXE_onemark");
    let work = ["rank.toml", "--data", "data", "--out", "runs", "--results", "results", "--onemark", program];
    let log = stderr(&ok(run(python, &folder, &work)));
    assert!(log.contains("match, joint, single: taken over from "), "{log}");

    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(folder.join("results").join(name)).unwrap()).unwrap()
    };
    let [four, none, few] = ["rank.four.p0.1.json", "rank.none.p0.1.json", "rank.few.p0.1.json"].map(read);
    // Same stages before, whether trained or taken over; and the settings of none but their own.
    for method in ["match", "joint", "single"] {
        assert_eq!(four["methods"][method]["all"], none["methods"][method]["all"], "{method}");
        assert_eq!(four["stages_trained"][method], none["stages_trained"][method], "seconds come along");
    }
    let parameters = |result: &serde_json::Value| result["methods"]["fused"]["parameters"].as_u64().unwrap();
    assert!(parameters(&none) < parameters(&four));
    assert!(four["methods"]["fused"]["without"]["mre"].is_number() && four["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(four["seesaw"].as_array().unwrap().len(), 3, "joint, and the fusion free and frozen");
    assert!(four["pseudo_labels"]["first"].is_number() && few["pseudo_labels"].is_null());
    assert_eq!((few["training_images"].as_u64(), few["methods"].as_object().unwrap().len()), (Some(3), 2));
    let command = four["command"].as_str().unwrap();
    assert!(command.starts_with("onemark train DATA/images/p0.png ") && !command.contains(f.root.to_str().unwrap()));

    // What is taken over has the bytes of what is trained.
    let alone = [&work[..4], &["alone", "--results", "alone", "--onemark", program, "--rows", "none"]].concat();
    ok(run(python, &folder, &alone));
    for kind in ["match", "joint", "joint-01", "single", "fused", "fused-04"] {
        let [a, b] = ["runs", "alone"]
            .map(|out| std::fs::read(folder.join(out).join(format!("rank.none.p0.1/{kind}.safetensors"))).unwrap());
        assert!(a == b, "{kind}");
    }

    // The same in images that say themselves how long a pixel is.
    data(f, &folder.join("stated-data"), Some([0.5, 0.5]));
    let stated = file
        .replace("spacing = 0.5", "spacing = \"stated\"")
        .replace("templates = [\"p0\", \"p1\"]", "stages = [\"match\"]");
    std::fs::write(folder.join("stated.toml"), stated).unwrap();
    let stated = ["stated.toml", "--rows", "four", "--data", "stated-data", "--out", "stated"];
    ok(run(python, &folder, &[&stated[..], &work[5..]].concat()));
    let stated = read("stated.four.p0.1.json");
    let figures = |result: &serde_json::Value| (result["unit"].clone(), result["methods"]["match"]["all"].clone());
    assert_eq!(figures(&stated), figures(&four));

    let mark = folder.join("alone/rank.none.p0.1/program.txt");
    let own = std::fs::read(&mark).unwrap();
    std::fs::write(&mark, "another").unwrap();
    assert!(stderr(&run(python, &folder, &alone)).contains("rank.none.p0.1: trained by another build of onemark"));
    std::fs::write(&mark, own).unwrap();

    let tables = ["--tables", "--experiments", ".", "--results", "results", "--page", "page.md"];
    ok(run(python, &folder, &tables));
    ok(run(python, &folder, &[&tables[..], &["--check"]].concat()));
    let page = std::fs::read_to_string(folder.join("page.md")).unwrap();
    for words in [
        "## Rank?",
        "| four, template p1 | 1 | fused | ",
        "the fusion, shared weights frozen | 2 | ",
        "| four, all templates | 2 | single | ",
        "| none | 1 | fused | ",
        "- `none`: norms and heads alone",
        "the fusion, shared weights free | 2 | ",
        "| opposed pairs % | by chance % | ",
        "fused is better than joint at ",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    std::fs::remove_file(folder.join("results/rank.none.p0.1.json")).unwrap();
    assert!(stderr(&run(python, &folder, &[&tables[..], &["--check"]].concat())).contains("page.md is old"));
    ok(run(python, &folder, &tables));
    assert!(std::fs::read_to_string(folder.join("page.md")).unwrap().contains("Not run yet: none (p0, seed 1)."));

    // A row that asks for something else now: neither its old result nor its old run counts for it.
    let changed = file.replace("settings = [\"fuse.rank=0\"]", "").replace("images = 3", "images = 2");
    std::fs::write(folder.join("rank.toml"), changed).unwrap();
    ok(run(python, &folder, &tables));
    let page = std::fs::read_to_string(folder.join("page.md")).unwrap();
    assert!(page.contains("Not run yet: none (p0, seed 1), few (p0, seed 1)."), "{page}");
    let refused = stderr(&run(python, &folder, &alone));
    assert!(refused.contains("fuse.rank: 0 in this run, not 4"), "{refused}");

    for (args, words) in [
        (&["rank.toml", "--seeds", "9", "--list"][..], "no row has these templates and seeds"),
        (&["rank.toml", "--rows", "nine", "--list"], "there is no row 'nine'"),
        (&["gone.toml", "--list"], "gone.toml"),
    ] {
        let output = run(python, &folder, args);
        assert!(!output.status.success() && stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn the_page_is_that_of_the_results_and_settings_are_known() {
    let Some(python) = python() else { return };
    ok(run(python, Path::new(ROOT), &["--tables", "--check"]));
    let f = Fixture::get();
    let mut files = 0;
    for entry in std::fs::read_dir(format!("{ROOT}/experiments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        files += 1;
        let listed = ok(run(python, Path::new(ROOT), &[path.to_str().unwrap(), "--list"]));
        for line in String::from_utf8(listed.stdout).unwrap().lines() {
            // A training that ends for want of an image has understood its settings.
            let words = line.split_once(": ").unwrap().1;
            let command = format!(
                "exec '{}' train gone.png --template gone.png --landmarks gone.csv --out gone {words}",
                env!("CARGO_BIN_EXE_onemark")
            );
            let output = Command::new("sh").args(["-c", &command]).current_dir(&f.root).output().unwrap();
            assert!(
                output.status.code() == Some(3) && stderr(&output).contains("gone.png"),
                "{line}: {}",
                stderr(&output)
            );
        }
    }
    assert!(files > 9);
}

#[test]
fn files_that_say_something_else_are_refused() {
    let Some(python) = python() else { return };
    let f = Fixture::get();
    for (text, words) in [
        ("", "rows are [[row]] with a name"),
        ("settings = 3\n", "settings: not 3"),
        ("stages = [\"foo\"]\n", "stages: 'foo' is none of match, joint, single, fuse"),
        ("[[row]]\nname = \"a\"\nseed = 1\n", "unknown key 'seed'"),
        ("[[row]]\nname = \"a\"\nimages = -4\n", "images: not -4"),
        ("[data]\ntruth = \"t.csv\"\n", "unknown key 'truth'"),
    ] {
        std::fs::write(f.root.join("wrong.toml"), text).unwrap();
        let output = run(python, &f.root, &["wrong.toml", "--list"]);
        let said = stderr(&output);
        assert!(output.status.code() == Some(1) && said.contains(&format!("wrong.toml: {words}")), "{text}: {said}");
    }
}
