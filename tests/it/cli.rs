//! The command line as scripts see it.

use std::path::Path;
use std::process::{Command, Output};

use sandmill_tests::{House, guest, program};

fn run(folder: &Path, arguments: &[&str], house: Option<&House>) -> Output {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"));
    command.env("SANDMILL_DATA", folder.join("nowhere"));
    if let Some(house) = house {
        command
            .env("SANDMILL_URL", house.server.url())
            .env("SANDMILL_TOKEN", house.server.token());
    }
    command
        .output()
        .expect("runs; `cargo xtask test` builds it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_are_for_people_or_programs() {
    let house = House::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let go = |arguments: &[&str]| run(folder.path(), arguments, Some(&house));
    let sql = "SELECT 1 AS a, 'x' AS b UNION ALL SELECT NULL, 'longer' ORDER BY b DESC";
    let table = go(&["job", "submit", sql]);
    assert_eq!(table.status.code(), Some(0), "{}", text(&table.stderr));
    assert!(
        text(&table.stdout).contains("│    1 ┆ x      │") && text(&table.stdout).contains("2 rows"),
        "{}",
        text(&table.stdout)
    );
    assert_eq!(
        text(&go(&["job", "submit", "-o", "csv", sql]).stdout),
        "a,b\n1,x\n,longer\n"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&go(&["job", "submit", "-o", "json", sql]).stdout).expect("json");
    assert_eq!(json[1]["b"], "longer");
    let arrow = go(&["job", "submit", "-o", "arrow", sql]).stdout;
    let reader = arrow::ipc::reader::StreamReader::try_new(arrow.as_slice(), None).expect("arrow");
    assert_eq!(
        reader
            .map(|b| b.expect("a batch").num_rows())
            .sum::<usize>(),
        2
    );
    let id = text(
        &go(&[
            "job",
            "submit",
            "--detach",
            "SELECT $n + 1 AS n",
            "-p",
            "n=41",
        ])
        .stdout,
    );
    let wait = std::time::Duration::from_secs(20);
    house
        .client
        .job_view(id.trim(), wait, None)
        .await
        .expect("it ends");
    assert_eq!(
        text(&go(&["job", "results", id.trim(), "-o", "csv"]).stdout),
        "n\n42\n"
    );
    assert!(text(&go(&["job", "list"]).stdout).contains(id.trim()));
    // Lists and single things come for programs, too; what a command cannot print is refused.
    let list = text(&go(&["job", "list", "-o", "csv"]).stdout);
    assert!(list.starts_with("id,state,created,rows,sql\n"), "{list}");
    assert!(list.contains(",1,SELECT $n + 1 AS n\n"), "{list}");
    assert_eq!(go(&["table", "list", "-o", "arrow"]).status.code(), Some(2));
    assert_eq!(
        go(&["job", "show", id.trim(), "-o", "csv"]).status.code(),
        Some(2)
    );
    for command in ["cancel", "show", "plan"] {
        let output = go(&["job", command, id.trim(), "-o", "json"]).stdout;
        let value: serde_json::Value = serde_json::from_slice(&output).expect(command);
        assert!(value.is_object(), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_tell_what_happened() {
    let house = House::start().await;
    let folder = tempfile::tempdir().expect("folder");
    let code = |arguments: &[&str]| run(folder.path(), arguments, Some(&house)).status.code();
    assert_eq!(code(&["job", "submit", "SELECT 1"]), Some(0));
    assert_eq!(code(&["job", "submit", "SELECT nope"]), Some(1));
    assert_eq!(code(&["job", "frobnicate"]), Some(2));
    assert_eq!(
        code(&["job", "show", "job_00000000000000000000000000000000"]),
        Some(3)
    );
    assert_eq!(
        run(
            folder.path(),
            &[
                "job",
                "list",
                "--server",
                "http://127.0.0.1:1",
                "--token",
                "x"
            ],
            None
        )
        .status
        .code(),
        Some(4)
    );
    assert_eq!(
        run(folder.path(), &["job", "list"], None).status.code(),
        Some(2)
    );
    let failed = run(
        folder.path(),
        &["job", "submit", "SELECT 1\nFRM x"],
        Some(&house),
    );
    let message = text(&failed.stderr);
    assert!(
        message.contains("error[sql.syntax]") && message.contains("2 | FRM x"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_and_tables_are_managed() {
    let house = House::start().await;
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("f.wasm"), guest("conformance_c")).expect("written");
    std::fs::write(house.folder.path().join("tables/t.csv"), "a\n1\n").expect("written");
    let go = |arguments: &[&str]| {
        let output = run(folder.path(), arguments, Some(&house));
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    };
    assert!(
        go(&["function", "upload", "f.wasm"])
            .contains("join_text(a VARCHAR, b VARCHAR) -> VARCHAR")
    );
    assert!(go(&["function", "list"]).contains("axpy"));
    assert!(go(&["function", "show", "root"]).contains("version    1"));
    assert!(go(&["function", "delete", "root"]).contains("deleted"));
    assert!(go(&["table", "add", "t", "t.csv"]).contains("1 columns"));
    assert!(go(&["table", "show", "t"]).contains("BIGINT"));
    assert!(go(&["table", "list"]).contains("t.csv"));
    assert!(go(&["table", "delete", "t"]).contains("forgotten"));
}

#[test]
fn projects_of_cpp_and_zig_are_built_and_tried() {
    for language in ["cpp", "zig"] {
        let folder = tempfile::tempdir().expect("folder");
        let name = format!("geo_{language}");
        let module = format!("{name}/{name}.wasm");
        let sql = "SELECT hypotenuse(3.0, 4.0) AS c";
        for arguments in [
            &["udf", "new", &name, "--lang", language][..],
            &["udf", "build", &name],
            &[
                "job",
                "submit",
                "--local",
                "--function",
                &module,
                "-o",
                "csv",
                sql,
            ],
        ] {
            let output = run(folder.path(), arguments, None);
            assert_eq!(
                output.status.code(),
                Some(0),
                "{arguments:?}: {}",
                text(&output.stderr)
            );
            if arguments[0] == "job" {
                assert_eq!(text(&output.stdout), "c\n5.0\n", "{language}");
            }
        }
    }
}

#[test]
fn a_function_is_made_built_inspected_and_tried() {
    let folder = tempfile::tempdir().expect("folder");
    let go = |arguments: &[&str]| {
        let output = run(folder.path(), arguments, None);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        text(&output.stdout)
    };
    std::fs::write(folder.path().join("in.csv"), "text\nhello WORLD\nx\n").expect("written");
    go(&["udf", "new", "words", "--lang", "c"]);
    assert!(go(&["udf", "build", "words"]).contains("title_case(text VARCHAR) -> VARCHAR"));
    let inspected = go(&["udf", "inspect", "words/words.wasm"]);
    assert!(
        inspected.contains("package   words 0.1.0") && inspected.contains("size "),
        "{inspected}"
    );
    let tried = go(&[
        "udf",
        "test",
        "words/words.wasm",
        "--fn",
        "title_case",
        "--input",
        "in.csv",
    ]);
    assert!(tried.contains("Hello World"), "{tried}");
    let local = go(&[
        "job",
        "submit",
        "--local",
        "--function",
        "words/words.wasm",
        "--table",
        "t=in.csv",
        "-o",
        "csv",
        "SELECT title_case(text) AS t FROM t",
    ]);
    assert_eq!(local, "t\nHello World\nX\n");
    let typed = ["job", "submit", "--local", "--function", "words/words.wasm"];
    let wrong = run(
        folder.path(),
        &[&typed[..], &["SELECT title_cas('x')"]].concat(),
        None,
    );
    let message = text(&wrong.stderr);
    assert!(message.contains("Did you mean `title_case`?"), "{message}");
    let gone = run(
        folder.path(),
        &[&typed[..], &["--table", "t=gone.csv", "SELECT 1"]].concat(),
        None,
    );
    let message = text(&gone.stderr);
    assert!(message.contains("gone.csv cannot be read"), "{message}");
    let plan = go(&["job", "submit", "--local", "EXPLAIN SELECT 1 AS one"]);
    assert!(plan.contains("┆ Projection: Int64(1) AS one"), "{plan}");
    assert!(plan.contains("┆   EmptyRelation: rows=1"), "{plan}");
    assert_eq!(
        run(folder.path(), &["udf", "new", "Bad Name"], None)
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        run(folder.path(), &["udf", "inspect", "in.csv"], None)
            .status
            .code(),
        Some(1)
    );
    let made = go(&["udf", "new", "geo", "--lang", "rust"]);
    let manifest = folder.path().join("geo/Cargo.toml");
    assert!(made.contains("udf build geo") && manifest.exists());
    // The manifest is Cargo's to read, however it is written.
    let written = std::fs::read_to_string(&manifest).expect("a manifest");
    std::fs::write(&manifest, written.replace("name = \"geo\"", "name='geo'")).expect("written");
    assert!(go(&["udf", "build", "geo"]).contains("geo.wasm: "));
    std::fs::write(&manifest, written.replace("cdylib", "rlib")).expect("written");
    let refused = run(folder.path(), &["udf", "build", "geo"], None);
    let message = text(&refused.stderr);
    assert!(message.contains("crate-type"), "{message}");
}
