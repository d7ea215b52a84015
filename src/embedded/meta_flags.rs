//! The flags of a meta line, read and checked as memcached 1.6.45 does it before it does anything else.
//!
//! Which error wins is memcached's, too: too many words, then the first flag that is unknown or doubled, then
//! the last token that does not parse. A flag that is known is accepted on every command, whether it means
//! something there or not.

use super::change::Mode;
use super::item::Now;
use crate::protocol::error::ErrorKind;
use crate::protocol::meta::words;
use crate::protocol::number;

/// An error reply with its line end.
pub type ErrorLine = &'static [u8];

const BAD_TOKEN: ErrorLine = b"CLIENT_ERROR bad token in command line format\r\n";

/// What is said of an opaque token that is too long.
pub const OPAQUE_TOO_LONG: ErrorLine = b"CLIENT_ERROR opaque token too long\r\n";

/// The most words a meta line may have, command and key included.
const MAX_WORDS: usize = 20;

/// The longest opaque word, its `O` included.
pub const MAX_OPAQUE: usize = 32;

/// The flags of one line that change what the command does.
#[derive(Debug, Default)]
pub struct Flags {
    /// `u`: this fetch does not count.
    pub no_bump: bool,
    /// Some flag shows or changes what a fetch changes, so the fetch is noted last.
    pub late_bump: bool,
    /// `N`: create a missing item, with this expiry time.
    pub vivify: Option<u32>,
    /// `T`: the new expiry time.
    pub exptime: Option<u32>,
    /// `R`: an item that expires before this time is to be fetched anew.
    pub recache: Option<u32>,
    /// `v`
    pub value: bool,
    /// `q`
    pub quiet: bool,
    /// `I`
    pub invalidate: bool,
    /// `x`: the item stays, without its value.
    pub clear_value: bool,
    /// `F`: the client's flags.
    pub client_flags: u32,
    /// `C`: the expected cas value.
    pub compare: Option<u64>,
    /// `E`: the new cas value.
    pub cas: Option<u64>,
    /// `M`: the mode's character, 0 for none.
    pub mode: u8,
    /// `D`
    pub delta: Option<u64>,
    /// `J`
    pub initial: Option<u64>,
}

impl Flags {
    /// Reads the flags; `before` is the number of words on the line before them.
    pub fn read(flags_text: &[u8], before: usize, now: Now) -> Result<Flags, ErrorLine> {
        Flags::read_with(flags_text, before, true, now)
    }

    /// The error of a line whose key is said to be base64 and is not.
    pub fn bad_key(flags_text: &[u8], before: usize, now: Now) -> ErrorLine {
        match Flags::read_with(flags_text, before, false, now) {
            Err(text) => text,
            // There is no `b` after all.
            Ok(_) => ErrorKind::BadKeyEncoding.wire(),
        }
    }

    fn read_with(
        flags_text: &[u8],
        before: usize,
        key_decodes: bool,
        now: Now,
    ) -> Result<Flags, ErrorLine> {
        if before + words(flags_text).count() > MAX_WORDS {
            return Err(b"CLIENT_ERROR options flags are too long\r\n");
        }
        let mut flags = Flags::default();
        let mut seen = 0u128;
        // A bad token is reported only if nothing worse follows it, and with the text that was set last:
        // `F` sets none.
        let mut bad = false;
        let mut text = ErrorKind::BadFormat.wire();
        for word in words(flags_text) {
            let Some((&flag, token)) = word.split_first() else {
                continue;
            };
            let bit = 1u128.checked_shl(u32::from(flag)).unwrap_or(0);
            if bit == 0 || seen & bit != 0 {
                return Err(b"CLIENT_ERROR duplicate flag\r\n");
            }
            seen |= bit;
            match flag {
                b'N' | b'T' | b'R' => {
                    flags.late_bump = true;
                    let time = number::i32(token).map(|time| now.expiry(time));
                    if time.is_none() {
                        bad = true;
                        text = BAD_TOKEN;
                    }
                    match flag {
                        b'N' => flags.vivify = time,
                        b'T' => flags.exptime = time,
                        _ => flags.recache = time,
                    }
                }
                b'C' | b'E' | b'J' | b'D' => {
                    let number = number::u64(token);
                    if number.is_none() {
                        bad = true;
                        text = match flag {
                            b'J' => b"CLIENT_ERROR invalid numeric initial value\r\n",
                            b'D' => b"CLIENT_ERROR invalid numeric delta value\r\n",
                            _ => BAD_TOKEN,
                        };
                    }
                    match flag {
                        b'C' => flags.compare = number,
                        b'E' => flags.cas = number,
                        b'J' => flags.initial = number,
                        _ => flags.delta = number,
                    }
                }
                b'F' => match number::flags(token) {
                    Some(client_flags) => flags.client_flags = client_flags,
                    None => bad = true,
                },
                // Only the mode's first character counts; without one it is the line end that is looked at.
                b'M' => flags.mode = token.first().copied().unwrap_or(b'\r'),
                b'l' | b'h' => flags.late_bump = true,
                b'v' => flags.value = true,
                b'u' => flags.no_bump = true,
                b'q' => flags.quiet = true,
                b'x' => flags.clear_value = true,
                b'I' => flags.invalidate = true,
                b'b' if !key_decodes => {
                    bad = true;
                    text = ErrorKind::BadKeyEncoding.wire();
                }
                b'b' | b'O' | b'P' | b'L' | b'k' | b's' | b't' | b'c' | b'f' => {}
                _ => return Err(b"CLIENT_ERROR invalid flag\r\n"),
            }
        }
        if bad { Err(text) } else { Ok(flags) }
    }

    /// How `ms` is to store the value, and until when.
    pub fn store_mode(&self) -> Result<(Mode, u32), ErrorLine> {
        let exptime = self.exptime.unwrap_or(0);
        let create = self.vivify.is_some();
        let mode = match self.mode {
            0 | b'S' | b'R' if self.compare.is_some() => Mode::Cas,
            0 | b'S' => Mode::Set,
            b'R' => Mode::Replace,
            b'E' => Mode::Add,
            b'A' => Mode::Append { create },
            b'P' => Mode::Prepend { create },
            _ => return Err(b"CLIENT_ERROR invalid mode for ms M token\r\n"),
        };
        let exptime = match (mode, self.vivify) {
            (Mode::Append { .. } | Mode::Prepend { .. }, Some(vivify)) => vivify,
            _ => exptime,
        };
        Ok((mode, exptime))
    }
}

/// Whether the opaque token, if there is one, may be sent back.
pub fn check_opaque(flags_text: &[u8]) -> Result<(), ErrorLine> {
    let long = words(flags_text).any(|w| w.first() == Some(&b'O') && w.len() > MAX_OPAQUE);
    if long { Err(OPAQUE_TOO_LONG) } else { Ok(()) }
}
