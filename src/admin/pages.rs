//! The pages of the admin port: which there are, and the answer to each.
//!
//! Every answer is text or JSON, may not be cached and ends in a line break, so that it reads well in a terminal.
//! An unknown path gets the list of those that exist.

use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Bounds, Hooks};
use crate::stats::prometheus::CONTENT_TYPE;

/// Every page: methods, path, what it is.
pub const PAGES: &[(&str, &str, &str)] = &[
    (
        "GET",
        "/healthz",
        "200 while every thread that serves turns, else 503 and which one hangs",
    ),
    (
        "GET",
        "/readyz",
        "200 when clients may be sent here, else 503 and the reason",
    ),
    ("GET", "/version", "name and version"),
    ("GET", "/stats", "statistics, JSON"),
    ("GET", "/metrics", "statistics for Prometheus"),
    (
        "GET",
        "/members",
        "the members of each pool: name, address, state, share of the keys, JSON",
    ),
    (
        "GET",
        "/config",
        "the configuration in force, with every default, TOML",
    ),
    (
        "GET, PUT",
        "/log-level",
        "the log filter; PUT a new one such as: debug",
    ),
    (
        "POST",
        "/reload",
        "reads the configuration file again and says what came of it",
    ),
];

type Answer = Response<Full<Bytes>>;

/// Answers requests.
pub(super) struct Pages {
    hooks: Hooks,
    bounds: Bounds,
    /// Held while a reload runs, also by one that nobody waits for any more.
    reloading: Arc<Mutex<()>>,
}

impl Pages {
    pub(super) fn new(hooks: Hooks, bounds: Bounds) -> Self {
        Self {
            hooks,
            bounds,
            reloading: Arc::default(),
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let Some((methods, ..)) = PAGES.iter().find(|(_, page, _)| *page == path) else {
            return text(StatusCode::NOT_FOUND, &contents());
        };
        let read = request.method() == Method::GET || request.method() == Method::HEAD;
        let asked = if read {
            "GET"
        } else {
            request.method().as_str()
        };
        if !methods.split(", ").any(|method| method == asked) {
            let mut answer = text(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("{path} takes {methods}"),
            );
            answer
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(methods));
            return answer;
        }
        if !read && is_foreign(&request) {
            return text(
                StatusCode::FORBIDDEN,
                "refused: sent by a web page of another origin",
            );
        }
        match path {
            "/healthz" => match (self.hooks.alive)() {
                Ok(()) => text(StatusCode::OK, "ok"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            "/readyz" => match (self.hooks.ready)() {
                Ok(()) => text(StatusCode::OK, "ready"),
                Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            "/version" => text(
                StatusCode::OK,
                concat!("ringroad ", env!("CARGO_PKG_VERSION")),
            ),
            "/stats" => answer(
                StatusCode::OK,
                "application/json",
                &format!("{:#}", (self.hooks.stats)()),
            ),
            "/metrics" => answer(StatusCode::OK, CONTENT_TYPE, &(self.hooks.metrics)()),
            "/members" => answer(
                StatusCode::OK,
                "application/json",
                &format!("{:#}", (self.hooks.members)()),
            ),
            "/config" => text(StatusCode::OK, &(self.hooks.config)()),
            "/log-level" if read => text(StatusCode::OK, &self.hooks.log.get()),
            "/log-level" => self.set_log_level(request).await,
            // The table above has no other page.
            _ => self.reload().await,
        }
    }

    async fn set_log_level(&self, request: Request<Incoming>) -> Answer {
        let body = Limited::new(request.into_body(), self.bounds.body).collect();
        let body = match timeout(self.bounds.body_time, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                let why = format!(
                    "the filter is not readable or has more than {} bytes",
                    self.bounds.body
                );
                return closing(text(StatusCode::PAYLOAD_TOO_LARGE, &why));
            }
            Err(_) => {
                return closing(text(
                    StatusCode::REQUEST_TIMEOUT,
                    "the filter took too long to arrive",
                ));
            }
        };
        let Ok(filter) = std::str::from_utf8(&body) else {
            return text(StatusCode::BAD_REQUEST, "the filter is not UTF-8");
        };
        match self.hooks.log.set(filter.trim()) {
            Ok(()) => {
                tracing::info!(
                    filter = filter.trim(),
                    "log level changed on the admin port"
                );
                text(StatusCode::OK, filter.trim())
            }
            Err(error) => text(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    async fn reload(&self) -> Answer {
        let Ok(turn) = Arc::clone(&self.reloading).try_lock_owned() else {
            return text(StatusCode::CONFLICT, "a reload is running already");
        };
        let hook = Arc::clone(&self.hooks.reload);
        let task = tokio::task::spawn_blocking(move || {
            let outcome = hook();
            drop(turn);
            outcome
        });
        match timeout(self.bounds.reload_time, task).await {
            Ok(Ok(Ok(outcome))) => text(StatusCode::OK, &outcome),
            Ok(Ok(Err(why))) => text(StatusCode::UNPROCESSABLE_ENTITY, &why),
            Ok(Err(_)) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the reload failed; see the log",
            ),
            Err(_) => text(
                StatusCode::GATEWAY_TIMEOUT,
                "the reload is still running; see the log",
            ),
        }
    }
}

/// Whether a browser sent this on behalf of a page from elsewhere. Other programs send no `Origin`.
fn is_foreign(request: &Request<Incoming>) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return false;
    };
    let host = request
        .headers()
        .get(header::HOST)
        .map_or(&b""[..], HeaderValue::as_bytes);
    origin
        .as_bytes()
        .strip_prefix(b"http://")
        .is_none_or(|origin| origin != host)
}

/// The list of pages.
fn contents() -> String {
    let mut list = String::from("no such page; there are:");
    for (methods, path, what) in PAGES {
        list.push_str(&format!("\n  {methods:<9} {path:<11} {what}"));
    }
    list
}

fn text(status: StatusCode, text: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

/// What is left of the body is not worth reading.
fn closing(mut answer: Answer) -> Answer {
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn answer(status: StatusCode, kind: &'static str, text: &str) -> Answer {
    let mut body = text.to_owned();
    if !body.ends_with('\n') {
        body.push('\n');
    }
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}
