//! Languages whose functions are declared in comments: new, build, pack, run, as users do it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sandmill_tests::{House, guest, program};

/// Runs with the compilers of the environment, or those that `cargo xtask guests` installed.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or(home)
        .expect("a home");
    Command::new(program())
        .args(arguments)
        .current_dir(folder)
        .env("SANDMILL_DATA", folder.join("nowhere"))
        .env("GOCACHE", cache.join("sandmill/go-build"))
        .output()
        .expect("runs; `cargo xtask test` builds it")
}

fn good(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn bad(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_template_becomes_a_function() {
    for language in ["assemblyscript", "go", "javascript"] {
        // A folder of its own: in one place a name belongs to one package.
        let folder = tempfile::tempdir().expect("folder");
        let go = |arguments: &[&str]| good(folder.path(), arguments);
        let (name, wasm) = (format!("{language}_words"), format!("{language}.wasm"));
        go(&["udf", "new", &name, "--lang", language]);
        let built = go(&["udf", "build", &name, "-o", &wasm]);
        assert!(
            built.contains("initial(name VARCHAR) -> VARCHAR"),
            "{built}"
        );
        let inspected = go(&["udf", "inspect", &wasm]);
        assert!(
            inspected.contains(&format!("package   {name} 0.1.0")),
            "{inspected}"
        );
        assert!(inspected.contains("First letter of a name"), "{inspected}");
        let sql = "SELECT coalesce(initial(x), 'none') AS i FROM (VALUES (' ada'), ('é'), (''), (NULL)) AS t(x)";
        let rows = go(&[
            "job",
            "submit",
            "--local",
            "--function",
            &wasm,
            "-o",
            "csv",
            sql,
        ]);
        assert_eq!(rows, "i\na\né\nnone\nnone\n", "{language}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_javascript_name_their_row_and_place() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::create_dir(folder.path().join("m")).expect("folder");
    let build = |source: &str| {
        std::fs::write(folder.path().join("m/f.js"), source).expect("written");
        good(folder.path(), &["udf", "build", "m"]);
        std::fs::read(folder.path().join("m/m.wasm")).expect("built")
    };
    let cases = [
        (
            "if (x == 2) throw new Error('two \\ud800');\n return x;",
            "two \u{fffd}",
        ),
        ("return x == 2 ? 0.5 : x;", "not a whole number"),
        ("return x == 2 ? 'x' : x;", "not a whole number"),
        (
            "return x == 2 ? nothing.at : x;",
            "nothing is not defined (at f3 (f.js:",
        ),
        ("if (x == 2) f4(x); return x;", ""),
    ];
    let mut source = String::new();
    for (n, (body, _)) in cases.iter().enumerate() {
        source += &format!(
            "//sandmill:scalar f{n}(x INT) -> INT\nexport function f{n}(x) {{\n {body}\n}}\n"
        );
    }
    let house = House::start().await;
    house.publish(build(&source)).await;
    for (n, (body, expected)) in cases.iter().enumerate() {
        let sql = format!("SELECT f{n}(CAST(x AS INT)) FROM (VALUES (1), (2)) AS t(x)");
        let problem = house.rows(&sql).await.expect_err(body);
        let place = problem.function.expect("a function");
        assert_eq!(place.name, format!("f{n}"));
        assert!(
            problem.detail.contains(expected),
            "{} lacks {expected}",
            problem.detail
        );
    }
    // A module that does not start is refused when it is uploaded.
    let wasm = build("//sandmill:scalar g(x INT) -> INT\nfunction g(x) { return x; }");
    let refused = house.client.function_upload(wasm).await;
    let detail = refused.expect_err("not exported").to_string();
    assert!(detail.contains("no exported function"), "{detail}");
}

#[test]
fn packing_replaces_a_manifest() {
    let folder = tempfile::tempdir().expect("folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("m.wasm"), guest("conformance_c")).expect("written");
    let manifest = "{\"package\":{\"abi\":\"1.0\",\"name\":\"other\",\"version\":\"9\"}}\n\
        {\"function\":{\"name\":\"answer\",\"kind\":\"scalar\",\"arguments\":[],\"returns\":\"i\"}}\n";
    std::fs::write(at("manifest.jsonl"), manifest).expect("written");
    let packed = good(
        folder.path(),
        &["udf", "pack", "m.wasm", "manifest.jsonl", "-o", "n.wasm"],
    );
    assert!(
        packed.contains("answer() -> INT") && !packed.contains("root"),
        "{packed}"
    );
    let inspected = good(folder.path(), &["udf", "inspect", "n.wasm"]);
    assert!(inspected.contains("package   other 9"), "{inspected}");
    std::fs::write(at("text.wasm"), "text").expect("written");
    let error = bad(
        folder.path(),
        &["udf", "pack", "text.wasm", "manifest.jsonl"],
    );
    assert!(error.contains("cannot be packed"), "{error}");
}
