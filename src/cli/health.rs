//! `ringroad health`: whether a running ringroad works, for health checks that can start a program and nothing else.
//!
//! It needs no shell and no other file, so it works in an image that holds nothing but ringroad.

use std::io::Write;
use std::time::Duration;

use super::{Failure, HealthArgs, open_config};
use crate::admin::client;

/// How long the answer may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks the admin port; its answer on `out`, warnings of the file on `err`.
///
/// # Errors
/// The answer is no, there is none, or it is not known whom to ask.
pub fn health(args: &HealthArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), Failure> {
    let admin = match &args.admin {
        Some(admin) => admin.clone(),
        None => {
            let (file, config) = open_config(args.config.as_deref(), err)?;
            let Some(admin) = config.admin else {
                return Err(Failure::Runtime(format!(
                    "{} has no [admin] port to ask",
                    file.display()
                )));
            };
            match admin.listen.into_iter().next() {
                Some(first) => first,
                None => return Err(Failure::Runtime("there is no admin port".to_owned())),
            }
        }
    };
    let page = if args.live { "/healthz" } else { "/readyz" };
    match client::ask(&admin, page, LIMIT) {
        Ok((status, answer)) if status.is_success() => {
            writeln!(out, "{}", answer.trim_end())?;
            Ok(())
        }
        Ok((_, answer)) => Err(Failure::Runtime(answer.trim_end().to_owned())),
        Err(error) => Err(Failure::Runtime(format!(
            "the admin port {admin} does not answer: {error}"
        ))),
    }
}
