//! What an image, a clip or a file costs in tokens.

/// What is taken for audio, files, and images whose size doesn't show: a 1024 x 1024 image.
const FLAT: u64 = 765;
/// Segments of a JPEG that are stepped over on the way to its size.
const MAX_SEGMENTS: usize = 64;

/// One image, clip or file, as far as it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Media {
    size: Option<(u32, u32)>,
    /// OpenAI's `detail: low`.
    pub(crate) low: bool,
}

impl Media {
    /// Looks at a string of it: its data, or a URL that holds them.
    pub(crate) fn see(&mut self, text: &str) {
        let head = text.as_bytes();
        let head = head.get(..160).unwrap_or(head);
        let mark = memchr::memmem::find(head, b";base64,").filter(|_| text.starts_with("data:"));
        let data = text.as_bytes().get(mark.map_or(0, |at| at + 8)..).unwrap_or_default();
        self.size = self.size.or_else(|| size(&Base64(data)));
    }

    /// As OpenAI, Anthropic and Google count it, in the order of
    /// [`Prompt::media`](tollway_core::Prompt).
    pub(crate) fn tokens(self) -> [u64; 3] {
        let size = self.size.map(|(width, height)| (f64::from(width), f64::from(height)));
        let openai = if self.low { 85 } else { size.map_or(FLAT, openai) };
        [openai, size.map_or(FLAT, anthropic), size.map_or(FLAT, gemini)]
    }
}

/// Tiles of 512 after scaling into 2048 x 2048 and the shorter side to 768: the rule of gpt-4o,
/// gpt-4.1 and their like. The small ones have rules of their own.
fn openai(size: (f64, f64)) -> u64 {
    let (width, height) = within(size, 2048.0);
    85 + 170 * tiles(scaled((width, height), 768.0 / width.min(height)), 512.0)
}

/// A token for 750 pixels, of at most 1568 a side and 1600 in all.
fn anthropic(size: (f64, f64)) -> u64 {
    let (width, height) = within(size, 1568.0);
    ((width * height / 750.0).ceil() as u64).clamp(1, 1600)
}

/// 258 a tile: one for a small image, else as many as the shorter side's two thirds make.
fn gemini(size: (f64, f64)) -> u64 {
    if size.0 <= 384.0 && size.1 <= 384.0 {
        return 258;
    }
    let (width, height) = within(size, 3072.0);
    let tile = (width.min(height) / 1.5).floor().clamp(256.0, 768.0);
    258 * tiles((width, height), tile)
}

/// Scaled down until no side is longer.
fn within((width, height): (f64, f64), longest: f64) -> (f64, f64) {
    scaled((width, height), longest / width.max(height))
}

/// Scaled to whole pixels; never up.
fn scaled((width, height): (f64, f64), scale: f64) -> (f64, f64) {
    let side = |side: f64| (side * scale.min(1.0)).round().max(1.0);
    (side(width), side(height))
}

fn tiles((width, height): (f64, f64), side: f64) -> u64 {
    ((width / side).ceil() * (height / side).ceil()) as u64
}

/// Width and height in pixels of a PNG, GIF, WebP or JPEG. A few dozen bytes are decoded, however
/// large it is.
fn size(data: &Base64<'_>) -> Option<(u32, u32)> {
    let size = match data.bytes(0)? {
        [0x89, b'P', b'N', b'G'] => {
            (u32::from_be_bytes(data.bytes(16)?), u32::from_be_bytes(data.bytes(20)?))
        }
        [b'G', b'I', b'F', b'8'] => (data.u16_le(6)?, data.u16_le(8)?),
        [b'R', b'I', b'F', b'F'] if data.bytes(8)? == *b"WEBP" => webp(data)?,
        [0xff, 0xd8, 0xff, _] => jpeg(data)?,
        _ => return None,
    };
    (size.0 > 0 && size.1 > 0).then_some(size)
}

fn webp(data: &Base64<'_>) -> Option<(u32, u32)> {
    match &data.bytes(12)? {
        b"VP8 " => Some((data.u16_le(26)? & 0x3fff, data.u16_le(28)? & 0x3fff)),
        b"VP8L" => {
            let bits = u32::from_le_bytes(data.bytes(21)?);
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        b"VP8X" => {
            let side = |[a, b, c]: [u8; 3]| u32::from_le_bytes([a, b, c, 0]) + 1;
            Some((side(data.bytes(24)?), side(data.bytes(27)?)))
        }
        _ => None,
    }
}

fn jpeg(data: &Base64<'_>) -> Option<(u32, u32)> {
    let mut at = 2;
    for _ in 0..MAX_SEGMENTS {
        let [0xff, marker] = data.bytes(at)? else { return None };
        match marker {
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            // Start of frame, of whatever coding; three in this range are something else.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((data.u16_be(at + 7)?, data.u16_be(at + 5)?));
            }
            _ => at += 2 + data.u16_be(at + 2)? as usize,
        }
    }
    None
}

/// Base64, with or without the URL alphabet, decoded where it is looked at.
struct Base64<'a>(&'a [u8]);

impl Base64<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = self.byte(at + index)?;
        }
        Some(bytes)
    }

    /// Each byte lies in two characters.
    fn byte(&self, at: usize) -> Option<u8> {
        let bit = at.checked_mul(8)?;
        let (high, low) = (self.six_bits(bit / 6)?, self.six_bits(bit / 6 + 1)?);
        let both = u16::from(high) << 6 | u16::from(low);
        Some((both >> (4 - bit % 6)) as u8)
    }

    fn six_bits(&self, at: usize) -> Option<u8> {
        Some(match *self.0.get(at)? {
            letter @ b'A'..=b'Z' => letter - b'A',
            letter @ b'a'..=b'z' => letter - b'a' + 26,
            digit @ b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        })
    }

    fn u16_be(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(|bytes| u16::from_be_bytes(bytes).into())
    }

    fn u16_le(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(|bytes| u16::from_le_bytes(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, 2, 0, 0, 0]);
        bytes
    }

    /// With as much before its frame as a camera writes.
    fn photo(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        for marker in [0xe1, 0xe2, 0xdb, 0xc4] {
            bytes.extend([0xff, marker, 0xc3, 0x50]);
            bytes.extend(std::iter::repeat_n(0xff, 0xc350 - 2));
        }
        bytes.extend([0xff, 0xff, 0xc2, 0, 17, 8]);
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.push(3);
        bytes
    }

    fn webp(kind: &[u8; 4], rest: &[u8]) -> Vec<u8> {
        [b"RIFF\x1a\0\0\0WEBP", &kind[..], &[10, 0, 0, 0], rest].concat()
    }

    #[test]
    fn sizes_are_read_from_the_first_bytes() {
        let gif = b"GIF89a\x40\x01\xf0\x00\0\0\0".to_vec();
        let lossy = webp(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 0x40, 0x41, 0xf0, 0x40, 0]);
        let bits = (320_u32 - 1) | (240 - 1) << 14;
        let lossless = webp(b"VP8L", &[&[0x2f][..], &bits.to_le_bytes(), &[0]].concat());
        let extended = webp(b"VP8X", &[0, 0, 0, 0, 0x3f, 1, 0, 0xef, 0, 0, 0]);
        for image in [png(320, 240), gif, lossy, lossless, extended, photo(320, 240)] {
            for data in [STANDARD.encode(&image), URL_SAFE_NO_PAD.encode(&image)] {
                for text in [format!("data:image/x;base64,{data}"), data] {
                    let mut media = Media::default();
                    media.see("https://example.com/a.png");
                    media.see(&text);
                    assert_eq!(media.size, Some((320, 240)), "{}", &text[..30]);
                }
            }
            // Cut anywhere, it has a size or none.
            for end in 0..image.len().min(60) {
                size(&Base64(STANDARD.encode(&image[..end]).as_bytes()));
            }
        }
        assert_eq!(size(&Base64(STANDARD.encode(png(0, 5)).as_bytes())), None);
    }

    #[test]
    fn tokens_follow_the_published_rules() {
        let tokens = |width, height| Media { size: Some((width, height)), low: false }.tokens();
        assert_eq!(tokens(1024, 1024), [765, 1399, 4 * 258]);
        assert_eq!(tokens(2048, 4096), [1105, 1600, 8 * 258]);
        assert_eq!(tokens(200, 200), [255, 54, 258]);
        assert_eq!(tokens(960, 540)[2], 6 * 258);
        assert_eq!(tokens(1, 1), [255, 1, 258]);
        assert_eq!(Media::default().tokens(), [FLAT; 3]);
        assert_eq!(Media { size: Some((4000, 3000)), low: true }.tokens()[0], 85);
    }

    proptest! {
        #[test]
        fn no_size_costs_nothing_or_beyond_bounds(width: u32, height: u32) {
            let media = Media { size: Some((width.max(1), height.max(1))), low: false };
            for tokens in media.tokens() {
                prop_assert!((1..=24 * 258).contains(&tokens), "{tokens}");
            }
        }

        #[test]
        fn no_bytes_panic(start in 0..6_usize, bytes: Vec<u8>) {
            let magic: [&[u8]; 6] =
                [b"", b"\x89PNG", b"GIF8", b"RIFF\0\0\0\0WEBPVP8X", b"\xff\xd8", b"\xff\xd8\xff\xe0"];
            let all = [magic[start], &bytes].concat();
            size(&Base64(STANDARD.encode(&all).as_bytes()));
            size(&Base64(&all));
        }
    }
}
