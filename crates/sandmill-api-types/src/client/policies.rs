//! What functions are permitted.

use reqwest::Method;

use super::{Client, Error};
use crate::HttpPolicy;

impl Client {
    /// Places that functions may call over HTTP.
    pub async fn http_policy(&self) -> Result<HttpPolicy, Error> {
        self.get("/policies/http", &[]).await
    }

    /// Says which places functions may call over HTTP, instead of those before.
    pub async fn set_http_policy(&self, policy: &HttpPolicy) -> Result<HttpPolicy, Error> {
        self.json(self.request(Method::PUT, "/policies/http").json(policy))
            .await
    }
}
