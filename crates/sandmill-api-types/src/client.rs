mod functions;
mod policies;

use std::time::Duration;

use futures::{Stream, TryStreamExt};
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    Function, FunctionList, Job, JobFunctions, JobList, JobPlan, LogPage, Me, NewJob, NewTable,
    Problem, ResultManifest, Rows, Table, TableList,
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server said no.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The server could not be reached, or broke off.
    #[error("the server at {url} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The answer is not what this client understands.
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
}

/// Formats that results come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON pages.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// CSV with a header.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Format {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
        }
    }
}

/// Talks to one server with one token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// A client for a server like `http://127.0.0.1:8420`.
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        }
    }

    /// The server.
    pub fn url(&self) -> &str {
        &self.url
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1{path}", self.url))
            .bearer_auth(&self.token)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            reason = inner.to_string();
            source = inner.source();
        }
        Error::Unreachable {
            url: self.url.clone(),
            reason,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        self.checked(response).await
    }

    async fn checked(&self, response: Response) -> Result<Response, Error> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(Error::Problem(Box::new(problem))),
            Err(_) => Err(Error::Answer(format!("status {status}"))),
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        self.json_of(self.send(request).await?).await
    }

    async fn json_of<T: DeserializeOwned>(&self, response: Response) -> Result<T, Error> {
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        serde_json::from_slice(&body).map_err(|e| Error::Answer(e.to_string()))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, Error> {
        self.json(self.request(Method::GET, path).query(query))
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    async fn delete(&self, path: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, path))
            .await
            .map(|_| ())
    }

    /// Who the token stands for.
    pub async fn me(&self) -> Result<Me, Error> {
        self.get("/me", &[]).await
    }

    /// Submits a job; comes back when it has ended, at the latest after `wait`.
    pub async fn job_submit(&self, job: &NewJob, wait: Duration) -> Result<Job, Error> {
        self.post(&format!("/jobs?wait={}ms", wait.as_millis()), job)
            .await
    }

    /// Plans a job without running it.
    pub async fn job_validate(&self, job: &NewJob) -> Result<JobPlan, Error> {
        self.post("/jobs/validate", job).await
    }

    /// One job; with `seen` waits until its revision is another one, at most `wait`.
    pub async fn job_view(
        &self,
        id: &str,
        wait: Duration,
        seen: Option<u64>,
    ) -> Result<Job, Error> {
        let query = [("wait", format!("{}ms", wait.as_millis()))];
        let path = format!("/jobs/{id}");
        let Some(seen) = seen else {
            return self.get(&path, &query).await;
        };
        let request = self.request(Method::GET, &path).query(&query);
        let request = request.header("if-none-match", format!("\"{seen}\""));
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status() == reqwest::StatusCode::NOT_MODIFIED {
            return self.get(&path, &[]).await;
        }
        self.json_of(self.checked(response).await?).await
    }

    /// Jobs, newest first.
    pub async fn job_list(
        &self,
        state: Option<&str>,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<JobList, Error> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(state.map(|s| ("state", s.to_owned())));
        query.extend(cursor.map(|c| ("cursor", c.to_owned())));
        self.get("/jobs", &query).await
    }

    /// Asks a job to stop.
    pub async fn job_cancel(&self, id: &str) -> Result<Job, Error> {
        self.post(&format!("/jobs/{id}/cancel"), &()).await
    }

    /// Runs an ended job again.
    pub async fn job_retry(&self, id: &str) -> Result<Job, Error> {
        self.post(&format!("/jobs/{id}/retry"), &()).await
    }

    /// How a job runs.
    pub async fn job_plan(&self, id: &str) -> Result<JobPlan, Error> {
        self.get(&format!("/jobs/{id}/plan"), &[]).await
    }

    /// Log lines from line `from` on.
    pub async fn job_logs(&self, id: &str, from: u64) -> Result<LogPage, Error> {
        self.job_logs_of(id, None, from).await
    }

    /// Log lines of one function, or of all, from line `from` on.
    pub async fn job_logs_of(
        &self,
        id: &str,
        function: Option<&str>,
        from: u64,
    ) -> Result<LogPage, Error> {
        let mut query = vec![("from", from.to_string())];
        query.extend(function.map(|name| ("function", name.to_owned())));
        self.get(&format!("/jobs/{id}/logs"), &query).await
    }

    /// What a job's functions used.
    pub async fn job_functions(&self, id: &str) -> Result<JobFunctions, Error> {
        self.get(&format!("/jobs/{id}/functions"), &[]).await
    }

    /// What the result consists of.
    pub async fn job_manifest(&self, id: &str) -> Result<ResultManifest, Error> {
        self.get(&format!("/jobs/{id}/results/manifest"), &[]).await
    }

    /// A page of rows.
    pub async fn job_rows(&self, id: &str, offset: u64, limit: u64) -> Result<Rows, Error> {
        let query = [("offset", offset.to_string()), ("limit", limit.to_string())];
        self.get(&format!("/jobs/{id}/results"), &query).await
    }

    /// The whole result.
    pub async fn job_download(
        &self,
        id: &str,
        format: Format,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, Error>> + use<>, Error> {
        let request = self.request(Method::GET, &format!("/jobs/{id}/results/download"));
        let response = self
            .send(request.query(&[("format", format.as_str())]))
            .await?;
        let url = self.url.clone();
        let broken = move |e: reqwest::Error| Error::Unreachable {
            url: url.clone(),
            reason: e.to_string(),
        };
        Ok(response
            .bytes_stream()
            .map_ok(|bytes| bytes.to_vec())
            .map_err(broken))
    }

    /// Each function in its default version.
    pub async fn function_list(&self) -> Result<FunctionList, Error> {
        self.get("/functions", &[]).await
    }

    /// The default version of a function.
    pub async fn function_view(&self, name: &str) -> Result<Function, Error> {
        self.get(&format!("/functions/{name}"), &[]).await
    }

    /// Registers a table.
    pub async fn table_create(&self, table: &NewTable) -> Result<Table, Error> {
        self.post("/catalog/tables", table).await
    }

    /// All tables.
    pub async fn table_list(&self) -> Result<TableList, Error> {
        self.get("/catalog/tables", &[]).await
    }

    /// One table.
    pub async fn table_view(&self, name: &str) -> Result<Table, Error> {
        self.get(&format!("/catalog/tables/{name}"), &[]).await
    }

    /// Forgets a table.
    pub async fn table_delete(&self, name: &str) -> Result<(), Error> {
        self.delete(&format!("/catalog/tables/{name}")).await
    }
}
