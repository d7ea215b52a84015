//! What the fuzz targets share.
//!
//! Inputs are the text of the protocol itself, so that seeds and what a fuzzer finds can be read. How a stream
//! is cut into pieces is therefore not part of the input but drawn from a hash of it: [`Cuts`].
//! The few bytes that text lacks are written as in [`expand`].

pub mod world;

/// Where a stream is cut, different for every stream and the same every time (xorshift64* from FNV-1a).
pub struct Cuts(u64);

impl Cuts {
    /// `salt` gives another cutting of the same stream.
    pub fn of(stream: &[u8], salt: u64) -> Cuts {
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ salt;
        for byte in stream {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Cuts(hash | 1)
    }

    /// A number below `n`, which must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    /// The stream in pieces: some of a few bytes, some long.
    pub fn pieces<'a>(&mut self, stream: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let mut rest = stream;
        while !rest.is_empty() {
            let most = [1, 4, 40, 3000, 50_000][self.below(5)];
            let (piece, others) = rest.split_at((1 + self.below(most)).min(rest.len()));
            pieces.push(piece);
            rest = others;
        }
        pieces
    }
}

/// The stream as a whole, byte by byte unless that is too many, and in pieces.
pub fn cuttings(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut all = vec![vec![stream]];
    if stream.len() <= 600 {
        all.push(stream.chunks(1).collect());
    }
    for salt in 0..2 {
        all.push(Cuts::of(stream, salt).pieces(stream));
    }
    all
}

/// How many bytes a NUL stands for: more than a reply that is passed on as a whole may have.
pub const LARGE: usize = 33_000;

/// How many of these there may be in a stream: more find nothing more, and take long.
const MOST_LARGE: usize = 6;

/// Text for bytes: `|` is a line end, `\x01` a bare line feed, a NUL [`LARGE`] bytes.
pub fn expand(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut large = 0;
    for byte in text {
        match byte {
            b'|' => bytes.extend_from_slice(b"\r\n"),
            1 => bytes.push(b'\n'),
            0 if large < MOST_LARGE => {
                bytes.resize(bytes.len() + LARGE, b'x');
                large += 1;
            }
            byte => bytes.push(*byte),
        }
    }
    bytes
}
