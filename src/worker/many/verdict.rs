//! What an answer is worth to rules that compare answers.
//!
//! The same reply means different things to different commands (`HD` may be a hit, a deletion or that something is
//! stored), so a [`Verdict`] is of an answer and the [`Group`] of its command.

use super::super::dialogue::Answer;
use super::super::dispatch::Op;
use super::super::frame::Retained;
use super::super::leases::is_hot;
use crate::config::Verdict;
use crate::protocol::error::ErrorKind;
use crate::protocol::response::Kind;
use crate::route::exec::Outcome;
use crate::route::tree::Reason;
use crate::upstream::conn::Class;

/// What a command is, as far as rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Get,
    Update,
    Delete,
    Arithmetic,
    /// `touch` and what is for people.
    Other,
}

impl Group {
    pub(super) fn of(what: &Retained) -> Group {
        match what.op() {
            Op::Get(..) => Group::Get,
            Op::Command { class, head, .. } => match class {
                Class::Store | Class::LeaseSet => Group::Update,
                Class::LeaseGet | Class::Metaget => Group::Get,
                Class::Delete => Group::Delete,
                Class::Arith => Group::Arithmetic,
                Class::Meta { .. } => match head.get(..3) {
                    Some(b"mg ") => Group::Get,
                    Some(b"ms ") => Group::Update,
                    Some(b"md ") => Group::Delete,
                    _ => Group::Arithmetic,
                },
                Class::Touch | Class::Flush | Class::MetaDebug | Class::Uptime => Group::Other,
            },
        }
    }
}

/// How an answer to such a command is judged.
pub(super) fn verdict(answer: &Answer, group: Group) -> Verdict {
    match answer {
        Answer::Value(_) => Verdict::Found,
        Answer::Miss => Verdict::NotFound,
        hot if is_hot(hot) => Verdict::NotFound,
        Answer::Line(kind, _) => match kind {
            Kind::Stored | Kind::Number => Verdict::Stored,
            Kind::NotStored | Kind::MetaNotStored => Verdict::NotStored,
            Kind::Exists | Kind::MetaExists => Verdict::Exists,
            Kind::Deleted => Verdict::Deleted,
            Kind::Touched => Verdict::Touched,
            Kind::Ok | Kind::End | Kind::Version => Verdict::Ok,
            Kind::MetaHeader | Kind::MetaValue(_) => match group {
                Group::Delete => Verdict::Deleted,
                Group::Update | Group::Arithmetic => Verdict::Stored,
                Group::Get | Group::Other => Verdict::Found,
            },
            Kind::MetaDebug => Verdict::Found,
            Kind::NotFound | Kind::MetaMiss | Kind::MetaNotFound => Verdict::NotFound,
            Kind::ClientError => Verdict::ClientError,
            Kind::Error | Kind::ServerError | Kind::Unknown => Verdict::RemoteError,
        },
        // A route's own error may be any; that of a server is told by its line.
        Answer::Error(line, outcome) => match outcome {
            Outcome::Failed(Reason::Timeout) => Verdict::Timeout,
            Outcome::Failed(Reason::Connect) => Verdict::ConnectError,
            Outcome::Failed(Reason::Busy) => Verdict::Busy,
            Outcome::Failed(_) if line.starts_with(b"SERVER_ERROR 307") => Verdict::Busy,
            Outcome::Failed(_) => Verdict::RemoteError,
            _ => Verdict::ClientError,
        },
        Answer::Failed(kind) => match kind {
            ErrorKind::Timeout => Verdict::Timeout,
            ErrorKind::ConnectFailed => Verdict::ConnectError,
            ErrorKind::MarkedDown => Verdict::Tko,
            ErrorKind::ConnectionLost | ErrorKind::BadReply | ErrorKind::TooLarge => {
                Verdict::RemoteError
            }
            ErrorKind::KeyTooLong => Verdict::BadKey,
            _ => Verdict::LocalError,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_reply_means_what_its_command_wanted() {
        let header = Answer::Line(Kind::MetaHeader, Vec::new());
        assert_eq!(verdict(&header, Group::Delete), Verdict::Deleted);
        assert_eq!(verdict(&header, Group::Update), Verdict::Stored);
        assert_eq!(verdict(&header, Group::Get), Verdict::Found);
        let said =
            |line: &[u8], outcome| verdict(&Answer::Error(line.to_vec(), outcome), Group::Get);
        let error = |line: &[u8]| said(line, Outcome::Failed(Reason::Error));
        assert_eq!(error(b"SERVER_ERROR 307 busy\r\n"), Verdict::Busy);
        assert_eq!(error(b"SERVER_ERROR x\r\n"), Verdict::RemoteError);
        assert_eq!(error(b"ERROR\r\n"), Verdict::RemoteError);
        let hot = Answer::Line(Kind::MetaDebug, b"NOT_FOUND_HOT\r\n".to_vec());
        assert_eq!(verdict(&hot, Group::Get), Verdict::NotFound);
        let done = said(b"CLIENT_ERROR x\r\n", Outcome::Done);
        assert_eq!(done, Verdict::ClientError);
        // Errors of routes say what they are, whatever their words.
        for (reason, want) in [
            (Reason::Timeout, Verdict::Timeout),
            (Reason::Connect, Verdict::ConnectError),
            (Reason::Busy, Verdict::Busy),
        ] {
            assert_eq!(said(b"SERVER_ERROR x\r\n", Outcome::Failed(reason)), want);
        }
    }
}
