//! What handlers take from a request; each rejects with a problem.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path as Segments, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use sandmill_model::{ErrorCode, TenantId};
use sandmill_store::Role;
use serde::de::DeserializeOwned;

use crate::problem::ApiError;
use crate::state::State;
use crate::tokens::{self, Verdict};

/// Who asks.
pub(crate) struct Caller {
    pub tenant: TenantId,
    pub role: Role,
    pub token: String,
    pub expires_at: Option<i64>,
}

impl Caller {
    /// The caller, if it may change something.
    pub(crate) fn engineer(&self) -> Result<&TenantId, ApiError> {
        match self.role {
            Role::Engineer => Ok(&self.tenant),
            Role::Viewer => Err(ApiError::new(
                ErrorCode::AuthForbidden,
                "The token only permits to look.",
            )
            .hint("Use a token with the role engineer.")),
        }
    }
}

impl FromRequestParts<State> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        let header = parts.headers.get(header::AUTHORIZATION).ok_or_else(|| {
            ApiError::new(ErrorCode::AuthMissing, "The request carries no token.")
                .hint("Send the header `Authorization: Bearer <token>`.")
        })?;
        let wrong = || ApiError::new(ErrorCode::AuthInvalid, "The token is not valid.");
        let text = header.to_str().map_err(|_| wrong())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(wrong)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(wrong().hint("Send the header `Authorization: Bearer <token>`."));
        }
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let now = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        let verdict = tokens::verify(state.jobs.store().as_ref(), token.trim(), now).await;
        let record = match verdict.map_err(|e| ApiError(sandmill_jobs::translate(e)))? {
            Verdict::Valid(record) => record,
            Verdict::Unknown => return Err(wrong()),
            Verdict::Expired => {
                return Err(
                    ApiError::new(ErrorCode::AuthExpired, "The token has expired.")
                        .hint("Ask for a new token."),
                );
            }
        };
        Ok(Self {
            tenant: record.tenant,
            role: record.role,
            token: record.name,
            expires_at: record.expires_at,
        })
    }
}

/// A JSON body without unknown fields.
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<State> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &State) -> Result<Self, ApiError> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let json = kind.map(|k| {
            k.split(';')
                .next()
                .unwrap_or(k)
                .trim()
                .eq_ignore_ascii_case("application/json")
        });
        if json != Some(true) {
            return Err(
                ApiError::new(ErrorCode::RequestMediaType, "The body must be JSON.")
                    .hint("Send `Content-Type: application/json`."),
            );
        }
        let bytes = bytes(request, state, state.settings.body_bytes).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|e| {
            ApiError::new(
                ErrorCode::RequestInvalid,
                format!("The body is not valid: {e}."),
            )
        })
    }
}

/// The bytes of a body, at most `limit`.
pub(crate) async fn bytes(
    request: Request,
    state: &State,
    limit: usize,
) -> Result<Bytes, ApiError> {
    let _ = state;
    axum::body::to_bytes(request.into_body(), limit)
        .await
        .map_err(|e| {
            let mut source: Option<&dyn std::error::Error> = Some(&e);
            while let Some(error) = source {
                if error.to_string().contains("length limit exceeded") {
                    let message = format!("The body has more than {limit} bytes.");
                    return ApiError(
                        sandmill_model::Failure::new(ErrorCode::UploadTooLarge, message).limit(
                            "request.bytes",
                            limit as u64,
                            None,
                        ),
                    );
                }
                source = error.source();
            }
            ApiError::new(ErrorCode::RequestInvalid, "The body broke off.")
        })
}

/// Parts of the path. One that is no text names nothing that exists.
pub(crate) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<State> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, ApiError> {
        Segments::from_request_parts(parts, state)
            .await
            .map(|Segments(segments)| Self(segments))
            .map_err(|_| ApiError::new(ErrorCode::NotFound, "There is nothing at this address."))
    }
}

/// Query parameters without unknown names.
pub(crate) struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<State> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, ApiError> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|e| {
                let mut reason = e.to_string();
                if let Some(source) = std::error::Error::source(&e) {
                    reason = source.to_string();
                }
                ApiError::new(
                    ErrorCode::RequestInvalid,
                    format!("The query parameters are not valid: {reason}."),
                )
            })
    }
}

/// A time like `30s`, `500ms`, `2m`, `1h`; a bare number means seconds.
pub(crate) fn duration(name: &str, text: &str) -> Result<Duration, ApiError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let parsed = digits
        .parse::<u64>()
        .ok()
        .filter(|_| digits.len() <= 9)
        .and_then(|n| {
            Some(match &text[digits.len()..] {
                "ms" => Duration::from_millis(n),
                "s" | "" => Duration::from_secs(n),
                "m" => Duration::from_secs(n * 60),
                "h" => Duration::from_secs(n * 3600),
                _ => return None,
            })
        });
    parsed.ok_or_else(|| {
        ApiError::new(
            ErrorCode::RequestInvalid,
            format!("`{name}` is not a time: {}.", text.escape_debug()),
        )
        .hint("Write a number with ms, s, m or h, like 30s.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let read = |text| duration("wait", text).map_err(|e| e.0.code);
        assert_eq!(read("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(read("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(read("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s", "ü"] {
            assert_eq!(read(bad), Err(ErrorCode::RequestInvalid), "{bad}");
        }
    }
}
