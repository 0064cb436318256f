use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sandmill_api_types::{
    Client, ClientError, Job as JobBody, JobState, Limits, NewJob, OnResultLimit, Param,
    UsedFunction,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::fault::Fault;
use super::output::{self, Output};
use super::session::Target;
use super::terminal::plain;

/// Rows of a result that a table shows.
const SHOWN: u64 = 100;

#[derive(Subcommand)]
pub(crate) enum Job {
    /// Submit a job, wait for its end and print its result.
    Submit(Submit),
    /// List jobs, newest first.
    List(List),
    /// Show a job.
    Show(One),
    /// Ask a job to stop.
    Cancel(One),
    /// Run an ended job again.
    Retry(One),
    /// Print what a job's functions logged.
    Logs(Logs),
    /// Print how a job runs.
    Plan(One),
    /// Print a job's result.
    Results(Results),
}

#[derive(Args)]
pub(crate) struct Submit {
    /// The statement; `-` or nothing reads it from standard input.
    sql: Option<String>,
    /// Read the statement from a file.
    #[arg(short, long, conflicts_with = "sql", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Value of a parameter, name=value; JSON numbers, true, false and null are taken as such.
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    params: Vec<String>,
    /// Register a table first, name=path.
    #[arg(short, long = "table", value_name = "NAME=PATH")]
    tables: Vec<String>,
    /// Publish a module first.
    #[arg(long = "function", value_name = "FILE")]
    functions: Vec<PathBuf>,
    /// Version or alias of a function where the statement names none, name=version.
    #[arg(long = "pin", value_name = "NAME=VERSION")]
    pins: Vec<String>,
    /// Label, name=value.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Wall-clock limit, like 30s or 10m.
    #[arg(long)]
    timeout: Option<String>,
    /// Cut the result at its limit instead of failing.
    #[arg(long)]
    truncate: bool,
    /// Let errors of functions show the arguments of the row that failed.
    #[arg(long)]
    show_values: bool,
    /// Print the job's id and do not wait.
    #[arg(long, conflicts_with = "local")]
    detach: bool,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only jobs in this state.
    #[arg(long)]
    state: Option<String>,
    /// How many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[arg(short, long, value_parser = output::many(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct One {
    /// The job's id.
    id: String,
    #[arg(short, long, value_parser = output::one(), default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    one: One,
    /// Only what this function logged.
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
}

#[derive(Args)]
pub(crate) struct Results {
    /// The job's id.
    id: String,
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
    #[command(flatten)]
    target: Target,
}

fn pair(text: &str) -> Result<(String, String), Fault> {
    let pair = text
        .split_once('=')
        .ok_or_else(|| Fault::usage(format!("`{text}` is not name=value")))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

impl Job {
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self {
            Self::Submit(submit) => submit.run().await,
            Self::List(list) => list.run().await,
            Self::Show(one) => {
                let session = one.target.open().await?;
                show(
                    &session
                        .client
                        .job_view(&one.id, Duration::ZERO, None)
                        .await?,
                    one.output,
                )
            }
            Self::Cancel(one) => {
                let job = one.target.open().await?.client.job_cancel(&one.id).await?;
                one.print(&job, || format!("{} is {}\n", job.id, job.state.as_str()))
            }
            Self::Retry(one) => {
                let job = one.target.open().await?.client.job_retry(&one.id).await?;
                one.print(&job, || format!("{}\n", job.id))
            }
            Self::Logs(logs) => logs.run().await,
            Self::Plan(one) => {
                let plan = one.target.open().await?.client.job_plan(&one.id).await?;
                one.print(&plan, || plain(&plan.plan))
            }
            Self::Results(one) => {
                print(&one.target.open().await?.client, &one.id, one.output).await
            }
        }
    }
}

impl One {
    fn print(
        &self,
        value: &impl serde::Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Fault> {
        match self.output {
            Output::Json => output::json(value),
            _ => {
                print!("{}", text());
                Ok(())
            }
        }
    }
}

impl Logs {
    async fn run(&self) -> Result<(), Fault> {
        let session = self.one.target.open().await?;
        let function = self.function.as_deref();
        let mut from = 0;
        loop {
            let logs = session.client.job_logs_of(&self.one.id, function, from);
            let page = logs.await?;
            if page.lines.is_empty() {
                return Ok(());
            }
            for line in &page.lines {
                match self.one.output {
                    Output::Json => output::json(line)?,
                    _ => {
                        let text = plain(&line.message);
                        println!("{} {:5} {}: {text}", line.at, line.level, line.function);
                    }
                }
            }
            from = page.next;
        }
    }
}

impl List {
    async fn run(&self) -> Result<(), Fault> {
        let session = self.target.open().await?;
        let list = session
            .client
            .job_list(self.state.as_deref(), self.limit, None)
            .await?;
        // Tables cut statements so that a job keeps to its line.
        let shown = match self.output {
            Output::Csv => usize::MAX,
            _ => 60,
        };
        let row = |job: &JobBody| {
            let words: Vec<_> = job.sql.split_whitespace().collect();
            let sql = words.join(" ").chars().take(shown).collect();
            let rows = job.rows.map(|r| r.to_string()).unwrap_or_default();
            let created = job
                .created_at
                .get(..19)
                .unwrap_or(&job.created_at)
                .replace('T', " ");
            vec![
                job.id.clone(),
                job.state.as_str().to_owned(),
                created,
                rows,
                sql,
            ]
        };
        let rows = list.items.iter().map(row).collect();
        output::list(
            self.output,
            &list,
            &["id", "state", "created", "rows", "sql"],
            &[false, false, false, true],
            rows,
        )
    }
}

impl Submit {
    async fn run(self) -> Result<(), Fault> {
        let job = self.job()?;
        let session = self.target.open().await?;
        let result = async {
            for path in &self.functions {
                session.add_function(path).await?;
            }
            for table in &self.tables {
                session.add_table(table).await?;
            }
            self.submit(&session.client, &job).await
        };
        let result = result.await;
        session.close().await;
        result
    }

    fn job(&self) -> Result<NewJob, Fault> {
        let sql = match (&self.sql, &self.file) {
            (Some(sql), _) if sql != "-" => sql.clone(),
            (_, Some(path)) => std::fs::read_to_string(path)
                .map_err(|e| Fault::failed(format!("{} cannot be read: {e}", path.display())))?,
            _ => {
                if std::io::stdin().is_terminal() {
                    eprintln!("Reading the statement from standard input; end it with Ctrl-D.");
                }
                let mut sql = String::new();
                std::io::stdin().read_to_string(&mut sql)?;
                sql
            }
        };
        let param = |text: &String| {
            let (name, value) = pair(text)?;
            // Objects and lists are no parameters, so they are texts.
            let parsed = serde_json::from_str(&value).ok();
            let scalar = parsed.filter(|v: &serde_json::Value| !v.is_object() && !v.is_array());
            Ok(Param {
                name,
                sql_type: None,
                value: scalar.unwrap_or_else(|| value.into()),
            })
        };
        Ok(NewJob {
            sql,
            params: self
                .params
                .iter()
                .map(param)
                .collect::<Result<_, Fault>>()?,
            show_values: self.show_values,
            functions: self
                .pins
                .iter()
                .map(|text| pair(text).map(|(name, v)| (name, v.as_str().into())))
                .collect::<Result<_, Fault>>()?,
            timeout: self.timeout.clone(),
            limits: Limits::default(),
            on_result_limit: if self.truncate {
                OnResultLimit::Truncate
            } else {
                OnResultLimit::Fail
            },
            labels: self
                .labels
                .iter()
                .map(|l| pair(l))
                .collect::<Result<_, Fault>>()?,
        })
    }

    async fn submit(&self, client: &Client, job: &NewJob) -> Result<(), Fault> {
        let placed = |e: ClientError| match e {
            ClientError::Problem(problem) => Fault::problem(&problem, Some(&job.sql)),
            other => other.into(),
        };
        if self.detach {
            let job = client
                .job_submit(job, Duration::ZERO)
                .await
                .map_err(placed)?;
            println!("{}", job.id);
            return Ok(());
        }
        // Heard from here on: a job that is on its way to the server must be stopped there, too.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut sending = pin!(client.job_submit(job, Duration::from_millis(300)));
        let sent = tokio::select! {
            sent = &mut sending => Some(sent.map_err(placed)?),
            _ = interrupt.recv() => None,
        };
        let Some(submitted) = sent else {
            // A server that does not answer by now has perhaps not seen it.
            let Ok(Ok(job)) = timeout(Duration::from_secs(2), sending).await else {
                return Err(Fault::interrupted(
                    "\nthe server did not say whether it has the job",
                ));
            };
            return Err(stop(client, &job.id).await?);
        };
        let ended = tokio::select! {
            ended = follow(client, submitted.clone()) => ended?,
            _ = interrupt.recv() => return Err(stop(client, &submitted.id).await?),
        };
        match (ended.state, &ended.error) {
            (JobState::Succeeded, _) => print(client, &ended.id, self.output).await,
            // By somebody else: it ends like one that is interrupted here.
            (JobState::Canceled, _) => {
                let message = format!("error[job.canceled]: {} was canceled", ended.id);
                Err(Fault::interrupted(message))
            }
            (_, Some(problem)) => {
                eprintln!("{} {}", ended.id, ended.state.as_str());
                Err(Fault::problem(problem, Some(&job.sql)))
            }
            (state, None) => Err(Fault::failed(format!(
                "{} was {}",
                ended.id,
                state.as_str()
            ))),
        }
    }
}

/// Asks a job to stop because the user does.
async fn stop(client: &Client, id: &str) -> Result<Fault, ClientError> {
    client.job_cancel(id).await?;
    Ok(Fault::interrupted(format!("\n{id} was asked to stop")))
}

/// Waits for the end of a job, with a bar on a terminal.
async fn follow(client: &Client, mut job: JobBody) -> Result<JobBody, Fault> {
    if job.state.is_terminal() {
        return Ok(job);
    }
    let bar = if std::io::stderr().is_terminal() {
        ProgressBar::new(0)
    } else {
        ProgressBar::hidden()
    };
    let style = |template: &str| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    };
    bar.set_style(style("{spinner} {msg} {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(120));
    while !job.state.is_terminal() {
        if let Some(total) = job.progress.rows_total.filter(|t| *t > 0) {
            bar.set_style(style(
                "{msg} [{bar:30}] {human_pos}/{human_len} rows {elapsed}",
            ));
            bar.set_length(total);
            bar.set_position(job.progress.rows_read.min(total));
        }
        bar.set_message(job.state.as_str());
        job = client
            .job_view(&job.id, Duration::from_millis(300), Some(job.revision))
            .await?;
    }
    bar.finish_and_clear();
    Ok(job)
}

fn show(job: &JobBody, output: Output) -> Result<(), Fault> {
    if output == Output::Json {
        return output::json(job);
    }
    println!("{}  {}", job.id, job.state.as_str());
    let line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            println!("  {name:<9} {value}");
        }
    };
    line("reason", job.state_reason.clone());
    line("created", Some(job.created_at.clone()));
    line("started", job.started_at.clone());
    line("finished", job.finished_at.clone());
    line(
        "attempt",
        Some(format!("{} of {}", job.attempt, job.max_attempts)),
    );
    line("read", Some(format!("{} rows", job.progress.rows_read)));
    line(
        "result",
        job.rows
            .map(|rows| format!("{rows} rows, {} bytes", job.bytes.unwrap_or(0))),
    );
    for pin in &job.functions {
        line(
            "function",
            Some(format!(
                "{}{} version {} ({})",
                pin.name,
                pin.asked
                    .as_ref()
                    .map(|a| format!("@{a}"))
                    .unwrap_or_default(),
                pin.version,
                &pin.digest[..12.min(pin.digest.len())]
            )),
        );
    }
    for used in &job.usage {
        usage(used).into_iter().for_each(|text| println!("{text}"));
    }
    line("retry of", job.retry_of.clone());
    println!("  {}", plain(job.sql.trim()).replace('\n', "\n  "));
    if let Some(problem) = &job.error {
        let text = Fault::problem(problem, None);
        let text = text.text();
        println!("  {}", plain(text).replace('\n', "\n  "));
    }
    Ok(())
}

/// What a function used, in two lines.
fn usage(used: &UsedFunction) -> [String; 2] {
    let millis = |nanos: u64| format!("{:.1} ms", nanos as f64 / 1e6);
    let name = format!("{} version {}", plain(&used.name), used.version);
    let failed = match (used.traps, used.errors) {
        (0, 0) => String::new(),
        (traps, errors) => format!(", {traps} traps, {errors} errors"),
    };
    [
        format!(
            "  used      {name}: {} calls, {} rows, {} instances, {:.1} MiB{failed}",
            used.calls,
            used.rows,
            used.instances,
            used.memory_bytes as f64 / f64::from(1 << 20),
        ),
        format!(
            "            call {} (CPU {}), copy {}, validate {}, instantiate {}",
            millis(used.call_nanos),
            millis(used.cpu_nanos),
            millis(used.copy_nanos),
            millis(used.validate_nanos),
            millis(used.instantiate_nanos),
        ),
    ]
}

async fn print(client: &Client, id: &str, output: Output) -> Result<(), Fault> {
    match output.format() {
        None => {
            println!("{}", output::rows(&client.job_rows(id, 0, SHOWN).await?));
            Ok(())
        }
        Some(format) => output::copy(client.job_download(id, format).await?).await,
    }
}
