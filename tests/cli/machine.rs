//! What helps people at a command line and programs that call this one.

use crate::fixture::{Fixture, ok, onemark, onemark_with, stderr, stdout};

#[test]
fn completions_and_manual_know_every_subcommand() {
    let help = stdout(&ok(onemark(&["--help"])));
    let listed =
        help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1).take_while(|line| !line.is_empty());
    // A description's second line is indented further.
    let names = listed.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let commands: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"doctor") && commands.contains(&"detect"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&ok(onemark(&["completions", shell])));
        commands.iter().for_each(|command| assert!(script.contains(command), "{shell}: {command}"));
    }
    let page = stdout(&ok(onemark(&["man"])));
    commands.iter().for_each(|command| assert!(page.contains(command), "{command}"));
    for command in &commands {
        assert!(stdout(&ok(onemark(&["man", command]))).contains(".SH SYNOPSIS"), "{command}");
    }
    let unknown = onemark(&["man", "detekt"]);
    assert!(unknown.status.code() == Some(2) && stderr(&unknown).contains("there are demo, annotate, train"));
}

#[test]
fn init_writes_settings_that_train_takes_and_replaces_nothing() {
    let f = Fixture::get();
    let file = f.path("settings.toml");
    ok(onemark(&["init", &file]));
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("# Training steps") && text.contains("[single.update.gates]"));
    let again = onemark(&["init", &file]);
    assert!(again.status.code() == Some(3) && stderr(&again).contains("is there already"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn the_doctor_finds_the_cpu_in_order() {
    let findings = ok(onemark(&["doctor", "--device", "cpu", "--json"]));
    let findings: serde_json::Value = serde_json::from_str(&stdout(&findings)).unwrap();
    let cpu = findings.as_array().unwrap().iter().filter(|finding| finding["about"] == "cpu");
    assert!(cpu.clone().any(|finding| finding["found"].as_str().unwrap().contains("12 kernels agree")), "{findings}");
    assert!(cpu.clone().all(|finding| finding["verdict"] != "wrong"));
    assert_eq!(onemark(&["doctor", "--device", "gpu:no such"]).status.code(), Some(4));
}

#[test]
fn images_can_be_listed_on_stdin_and_progress_read_by_programs() {
    let f = Fixture::get();
    f.trained();
    let (named, listed) = (f.path("named.csv"), f.path("listed.csv"));
    let images = ["images/p1.png", "images/p2.png"].map(|name| f.path(name));
    ok(f.detect(&[&images[0], &images[1], "--out", &named, "-q"]));
    let words =
        ["detect", "-", "--weights", &f.weights("fused"), "--device", "cpu", "--out", &listed, "--progress", "json"];
    let out = ok(onemark_with(&words, &format!("{}\n\n{}\n", images[0], images[1])));
    assert_eq!(std::fs::read(&named).unwrap(), std::fs::read(&listed).unwrap());
    let told: Vec<serde_json::Value> =
        stderr(&out).lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert!(told[0]["note"].as_str().is_some_and(|note| note.starts_with("device: cpu")), "{told:?}");
    let last = told.iter().rfind(|line| line["stage"].is_string()).expect("the end of the stage is told");
    assert_eq!((&last["stage"], &last["done"], &last["total"]), (&"detect".into(), &2.into(), &2.into()));
    let failed = f.detect(&["gone.png", "--out", &f.path("none.csv"), "--progress", "json"]);
    let told: serde_json::Value = serde_json::from_str(stderr(&failed).lines().last().unwrap()).unwrap();
    assert!(told["error"].as_str().is_some_and(|error| error.contains("gone.png")), "{told}");
}
