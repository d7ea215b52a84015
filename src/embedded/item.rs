//! One item: what memcached keeps of it, how large that is, and when it is dead.
//!
//! Sizes are memcached's own (its 64-bit item header, the key with its NUL, the value with its `\r\n`), so that
//! an item is too large here at the same byte as there, and `me` and `stats` show the same figures.
//! Times are Unix seconds. Nothing here knows the cache that holds the items.

/// The time of a call, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u32);

/// The longest relative expiry time, 30 days in seconds; larger ones are absolute.
const RELATIVE_MAX: i32 = 60 * 60 * 24 * 30;

impl Now {
    /// The point in time that an expiry time as sent by a client means: 0 for never, 1 (long past) for a
    /// negative one.
    pub fn expiry(self, exptime: i32) -> u32 {
        match exptime {
            0 => 0,
            ..0 => 1,
            1..=RELATIVE_MAX => self.0.saturating_add(exptime.unsigned_abs()),
            _ => exptime.unsigned_abs(),
        }
    }

    /// Seconds from `earlier` to now; 0 if that lies ahead.
    pub fn since(self, earlier: u32) -> u32 {
        self.0.saturating_sub(earlier)
    }
}

/// memcached's item header with the cas value: what an item takes beside key and value.
const HEADER: usize = 48 + 8;

/// The size of an item as memcached counts it, in bytes.
pub fn size(key_len: usize, value_len: usize, flags: u32) -> usize {
    let flags_len = if flags == 0 { 0 } else { 4 };
    HEADER + key_len + 1 + flags_len + value_len + 2
}

/// A stored value with its metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The value, without the line end that follows it on the wire.
    pub value: Box<[u8]>,
    /// The cas value.
    pub cas: u64,
    /// The client's flags.
    pub flags: u32,
    /// When it expires; 0 for never.
    pub exptime: u32,
    /// When it was stored or last became active.
    pub time: u32,
    marks: u8,
}

/// A yes-or-no property of an [`Item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// It has been fetched since it was stored.
    Fetched = 1,
    /// It has been fetched more than once.
    Active = 2,
    /// It was invalidated and waits for a new value.
    Stale = 4,
    /// A client has been told to fetch a new value.
    TokenSent = 8,
    /// It was stored under a base64 key and is shown under one.
    KeyBinary = 16,
    /// It is being stored and must not make room for itself.
    Pinned = 32,
}

/// After how many seconds a fetch renews an active item's time.
const RENEW_AFTER: u32 = 60;

impl Item {
    /// An item without marks; the store gives it its cas value and time.
    pub fn new(value: Box<[u8]>, flags: u32, exptime: u32) -> Item {
        Item {
            value,
            cas: 0,
            flags,
            exptime,
            time: 0,
            marks: 0,
        }
    }

    /// Whether it has the mark.
    pub fn has(&self, mark: Mark) -> bool {
        self.marks & mark as u8 != 0
    }

    /// Sets or removes a mark.
    pub fn set(&mut self, mark: Mark, on: bool) {
        if on {
            self.marks |= mark as u8;
        } else {
            self.marks &= !(mark as u8);
        }
    }

    /// Its size as memcached counts it, in bytes.
    pub fn size(&self, key_len: usize) -> usize {
        size(key_len, self.value.len(), self.flags)
    }

    /// Whether its time is up.
    pub fn expired(&self, now: Now) -> bool {
        self.exptime != 0 && self.exptime <= now.0
    }

    /// Seconds until it expires, as memcached prints them: a time that has passed wraps around.
    pub fn ttl(&self, now: Now) -> u32 {
        self.exptime.wrapping_sub(now.0)
    }

    /// Notes a fetch. The second one makes the item active and renews its time; from then on its time is
    /// renewed once a minute. (In memcached it is the LRU's background thread that makes room for that.)
    pub fn bump(&mut self, now: Now) {
        if !self.has(Mark::Fetched) {
            self.set(Mark::Fetched, true);
        } else if !self.has(Mark::Active) {
            self.set(Mark::Active, true);
            self.time = now.0;
        } else {
            self.renew(now);
        }
    }

    /// Renews the time if that was not done for a minute.
    pub fn renew(&mut self, now: Now) {
        if now.since(self.time) > RENEW_AFTER {
            self.time = now.0;
        }
    }
}

/// The chunk sizes that memcached would divide its memory into, for `me` and `stats`.
#[derive(Debug)]
pub struct Classes {
    chunks: Vec<usize>,
    max_item: usize,
}

/// memcached's page size and, half of it, its largest chunk, in bytes.
pub const PAGE: usize = 1 << 20;
const MAX_CHUNK: usize = PAGE / 2;

/// Whether memcached would spread an item of this size over several chunks.
pub fn chunked(size: usize) -> bool {
    size > MAX_CHUNK
}

impl Classes {
    /// The classes for a growth factor of 1.25 and items of up to `max_item` bytes.
    pub fn new(max_item: usize) -> Classes {
        let mut chunks = Vec::new();
        let mut chunk = 48 + 48;
        while chunk < MAX_CHUNK * 4 / 5 {
            chunks.push(chunk);
            chunk = (chunk * 5 / 4).next_multiple_of(8);
        }
        chunks.push(MAX_CHUNK);
        Classes { chunks, max_item }
    }

    /// The class of an item of `size` bytes, counted from 1.
    pub fn of(&self, size: usize) -> usize {
        let smaller = self.chunks.partition_point(|chunk| *chunk < size);
        smaller.min(self.chunks.len() - 1) + 1
    }

    /// The chunk size of a class; 0 if there is no such class.
    pub fn chunk(&self, class: usize) -> usize {
        self.chunks
            .get(class.wrapping_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// Whether an item of `size` bytes may be stored.
    pub fn fits(&self, size: usize) -> bool {
        size <= self.max_item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_times_mean_what_they_mean_in_memcached() {
        let now = Now(1_800_000_000);
        assert_eq!(now.expiry(0), 0);
        assert_eq!(now.expiry(-1), 1);
        assert_eq!(now.expiry(i32::MIN), 1);
        assert_eq!(now.expiry(1), 1_800_000_001);
        assert_eq!(now.expiry(2_592_000), 1_802_592_000);
        assert_eq!(now.expiry(2_592_001), 2_592_001);
        assert_eq!(now.expiry(1_900_000_000), 1_900_000_000);
        let item = |exptime| Item::new(Box::default(), 0, exptime);
        assert!(!item(0).expired(now));
        assert!(item(1).expired(now));
        assert!(item(now.0).expired(now));
        assert!(!item(now.0 + 1).expired(now));
        assert_eq!(item(now.0 + 30).ttl(now), 30);
    }

    #[test]
    fn sizes_and_classes_are_memcacheds() {
        // `me` on memcached 1.6: a key of 4 bytes, a value of 3, flags.
        assert_eq!(size(4, 3, 7), 70);
        assert_eq!(size(3, 2, 0), 64);
        let classes = Classes::new(1 << 20);
        // `stats slabs` and `memcached -vv` of 1.6.18 with default settings.
        assert_eq!(classes.chunks.len(), 39);
        assert_eq!((classes.chunk(1), classes.chunk(2)), (96, 120));
        assert_eq!((classes.chunk(38), classes.chunk(39)), (394_840, 524_288));
        assert_eq!((classes.of(96), classes.of(97)), (1, 2));
        assert_eq!((classes.of(524_289), classes.of(1 << 20)), (39, 39));
        assert!(classes.fits(1 << 20) && !classes.fits((1 << 20) + 1));
    }

    #[test]
    fn the_second_fetch_makes_an_item_active() {
        let mut item = Item::new(Box::default(), 0, 0);
        item.time = 100;
        item.bump(Now(110));
        assert!(item.has(Mark::Fetched) && !item.has(Mark::Active));
        assert_eq!(item.time, 100);
        item.bump(Now(120));
        assert!(item.has(Mark::Active));
        assert_eq!(item.time, 120);
        item.bump(Now(180));
        assert_eq!(item.time, 120);
        item.bump(Now(181));
        assert_eq!(item.time, 181);
        item.set(Mark::Active, false);
        assert!(item.has(Mark::Fetched) && !item.has(Mark::Active));
    }
}
