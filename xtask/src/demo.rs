//! The demo: real data, a real server, functions in Rust and C.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::Outcome;
use crate::guests;
use crate::run::{self, Home, apt, output, step};

/// The package that holds the data, and its licence.
const PACKAGE: &str = "vega-datasets@3.2.1";

/// Airlines' flights by the state of their airports: distance by a function in Rust, names by one in C.
const SQL: &str = "\
SELECT title_case(o.city) AS city, count(*) AS flights,
       round(avg(haversine(o.latitude, o.longitude, d.latitude, d.longitude)), 1) AS mean_km,
       round(max(haversine(o.latitude, o.longitude, d.latitude, d.longitude)), 1) AS longest_km
FROM flights f
JOIN airports o ON f.origin = o.iata
JOIN airports d ON f.destination = d.iata
GROUP BY title_case(o.city)
ORDER BY flights DESC
LIMIT 10";

/// Starts a server on a free port.
fn start(home: &Home, data: &Path, tables: &Path) -> Outcome<Server> {
    let mut child = Command::new(home.target.join("release/sandmill"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .arg("--allow")
        .arg(tables)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("the server: {e}"))?;
    let stdout = child.stdout.take().ok_or("the server has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    let server = Server(child);
    for line in lines.by_ref().take(4) {
        println!("  {}", line.map_err(|e| e.to_string())?);
    }
    if !data.join("address").exists() {
        return Err("the server did not start; its messages are above".into());
    }
    Ok(server)
}

/// A server that ends with the demo.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Builds, starts a server, runs the job and shows the result.
pub fn run(home: &Home, keep: bool) -> Outcome {
    let modules = step("guest modules", || guests::build(home))?;
    step("release build (some minutes the first time)", || {
        run::run(&mut home.cargo(&[
            "build",
            "--release",
            "-p",
            "sandmill-app",
            "-p",
            "sandmill-tests",
            "--bins",
        ]))
    })?;
    let tables = step("data", || data(home))?;
    let folder = home.cache.join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let server = step("server", || start(home, &folder, &tables))?;
    let sandmill = |arguments: &[&str]| {
        println!("$ sandmill {}", arguments.join(" "));
        run::run(
            Command::new(home.target.join("release/sandmill"))
                .args(arguments)
                .env("SANDMILL_DATA", &folder),
        )
    };
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    sandmill(&["function", "upload", &text(modules.join("bench.wasm"))])?;
    sandmill(&["function", "upload", &text(modules.join("demo_text.wasm"))])?;
    sandmill(&[
        "table",
        "add",
        "flights",
        &text(tables.join("flights-3m.parquet")),
    ])?;
    sandmill(&[
        "table",
        "add",
        "airports",
        &text(tables.join("airports.csv")),
    ])?;
    println!();
    let started = Instant::now();
    sandmill(&["job", "submit", SQL])?;
    let seconds = started.elapsed().as_secs_f64();
    let rows = 3_000_000.0;
    println!(
        "\nThe job, from the command line to the printed table: {seconds:.2} s, {:.1} million flights a second.",
        rows / seconds / 1e6
    );
    println!("The same query inside the engine, with the functions in Wasm and written natively:");
    run::run(
        Command::new(home.target.join("release/sandmill-bench"))
            .args(["demo", "--data"])
            .arg(&tables)
            .env("SANDMILL_GUESTS", &modules),
    )?;
    let address = fs::read_to_string(folder.join("address")).unwrap_or_default();
    println!("\nThe API and its front page: {}", address.trim());
    println!("Data: npm package {PACKAGE} (BSD-3-Clause).");
    if keep {
        println!("The server runs until Ctrl-C.");
        let mut server = server;
        server.0.wait().map_err(|e| e.to_string())?;
    } else {
        println!("The server stops now; `cargo xtask demo --keep` leaves it running.");
    }
    Ok(())
}

/// The flights and airports, from npm.
fn data(home: &Home) -> Outcome<PathBuf> {
    let folder = home.cache.join("demo-data");
    let data = folder.join("package/data");
    if data.join("flights-3m.parquet").exists() && data.join("airports.csv").exists() {
        return Ok(data);
    }
    if output("npm", &["--version"]).is_none() {
        apt(&["npm"])?;
    }
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    println!("fetching {PACKAGE} from npm");
    run::run(
        Command::new("npm")
            .args(["pack", "--silent", PACKAGE])
            .current_dir(&folder),
    )?;
    let mut files = fs::read_dir(&folder)
        .map_err(|e| e.to_string())?
        .flatten()
        .map(|e| e.path());
    let archive = files.find(|p| p.extension().is_some_and(|e| e == "tgz"));
    run::run(
        Command::new("tar")
            .arg("-xzf")
            .arg(archive.ok_or("npm left no archive")?)
            .current_dir(&folder),
    )?;
    Ok(data)
}
