//! Buckets: keys are put into a fixed number of them first, and then the buckets are spread over the nodes.
//!
//! The rule is mcrouter's. A key's bucket is Ch3 of its routing key; what is hashed afterwards is the bucket's number
//! in decimal digits. Pure; what a key's routing key is, the placement says.

use super::ch3::ch3;

/// The most buckets there may be: as many as Ch3 tells apart.
pub const MAX_BUCKETS: u32 = 1 << 23;

/// How keys are put into buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// How many there are; from 1 to [`MAX_BUCKETS`].
    pub total: u32,
    /// What the numbers are called together; for people alone.
    pub keyspace: String,
    /// Keys that begin with one of these go to so many of the buckets only; the longest that fits holds.
    pub by_prefix: Vec<(String, u32)>,
    /// Only what stands before and with so many of these characters is looked at, if there is one of them.
    pub parts: Option<(u32, char)>,
}

impl Buckets {
    /// The bucket of a routing key.
    pub fn of(&self, key: &[u8]) -> u32 {
        let key = self.part(key);
        let fits = |prefix: &&(String, u32)| key.starts_with(prefix.0.as_bytes());
        let longest = self.by_prefix.iter().filter(fits);
        match longest.max_by_key(|(prefix, _)| prefix.len()) {
            Some((prefix, count)) => {
                let own = ch3(key, *count);
                ch3(format!("{prefix}{own}").as_bytes(), self.total)
            }
            None => ch3(key, self.total),
        }
    }

    fn part<'k>(&self, key: &'k [u8]) -> &'k [u8] {
        let Some((parts, delimiter)) = self.parts else {
            return key;
        };
        let mut bytes = [0; 4];
        let delimiter = delimiter.encode_utf8(&mut bytes).as_bytes();
        let ends = memchr::memmem::find_iter(key, delimiter).map(|at| at + delimiter.len());
        let end = ends.take(parts as usize).last();
        end.and_then(|end| key.get(..end)).unwrap_or(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(parts: Option<(u32, char)>) -> Buckets {
        Buckets {
            total: 1000,
            keyspace: "x".to_owned(),
            by_prefix: vec![("a:".to_owned(), 5), ("a:b:".to_owned(), 1)],
            parts,
        }
    }

    #[test]
    fn a_bucket_is_ch3_of_the_key_or_of_its_prefix_and_number() {
        let all = buckets(None);
        // From the table of Ch3 in a thousand.
        assert_eq!(all.of(b"test_key"), 143);
        assert_eq!(all.of(b"key1"), 808);
        let own = ch3(b"a:x", 5);
        assert_eq!(all.of(b"a:x"), ch3(format!("a:{own}").as_bytes(), 1000));
        assert_eq!(all.of(b"a:b:x"), ch3(b"a:b:0", 1000), "the longest prefix");
    }

    #[test]
    fn only_the_parts_that_route_are_looked_at() {
        let two = buckets(Some((2, ':')));
        assert_eq!(two.of(b"k:l:m"), two.of(b"k:l:n"));
        assert_eq!(two.of(b"k:l:m"), ch3(b"k:l:", 1000));
        assert_eq!(two.of(b"k:l"), ch3(b"k:", 1000), "there are fewer");
        assert_eq!(two.of(b"key1"), 808, "there are none");
    }
}
