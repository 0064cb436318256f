//! Results of nested and encoded types: children, dictionaries and views that lie.

use super::*;

/// Where images of results lie in the guest's memory.
const BASE: u32 = 4096;

/// A part of a guest's memory, laid out piece by piece.
#[derive(Default)]
struct Image(Vec<u8>);

impl Image {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = BASE + self.0.len() as u32;
        self.0.extend_from_slice(bytes);
        at
    }

    fn words(&mut self, words: &[i32]) -> u32 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(&bytes)
    }

    fn longs(&mut self, longs: &[i64]) -> u32 {
        let bytes: Vec<u8> = longs.iter().flat_map(|long| long.to_le_bytes()).collect();
        self.put(&bytes)
    }

    /// The struct of an array; a nameless dictionary is 0.
    fn array(&mut self, length: i64, buffers: &[u32], children: &[u32], dictionary: u32) -> u32 {
        let words = |list: &[u32]| list.iter().map(|at| at.cast_signed()).collect::<Vec<_>>();
        let buffers_at = self.words(&words(buffers));
        let children_at = self.words(&words(children));
        let (many, inside) = (buffers.len() as i64, children.len() as i64);
        let mut bytes = Vec::with_capacity(64);
        for long in [length, -1, 0, many, inside] {
            bytes.extend(long.to_le_bytes());
        }
        for word in [buffers_at, children_at, dictionary, 0, 0, 0] {
            bytes.extend(word.to_le_bytes());
        }
        self.put(&bytes)
    }

    /// Changes four bytes.
    fn poke(&mut self, at: u32, word: u32) {
        let at = (at - BASE) as usize;
        self.0[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// A guest whose result is the array at `out`, of a type as manifests write it.
    fn guest(&self, returns: &str, out: u32) -> Vec<u8> {
        self.guest_after("", returns, out)
    }

    fn guest_after(&self, first: &str, returns: &str, out: u32) -> Vec<u8> {
        let manifest = manifest("l", "RETURNS").replace("\"RETURNS\"", returns);
        let bytes: String = self.0.iter().map(|b| format!("\\{b:02x}")).collect();
        let copy =
            format!("{first} (memory.copy (local.get $out) (i32.const {out}) (i32.const 64))");
        let data = format!("(data (i32.const {BASE}) \"{bytes}\")");
        wat(&manifest, &format!("{data} {}", scalar(&copy)))
    }
}

const LIST: &str = r#"{"type":"+l","children":[{"name":"item","type":"l"}]}"#;
const LISTS: &str = r#"{"type":"+l","children":[{"name":"item","type":"+l","children":[{"name":"item","type":"l"}]}]}"#;
const CODES: &str = r#"{"type":"c","dictionary":"u"}"#;
const PAIR: &str = r#"{"type":"+s","children":[{"name":"a","type":"l","nullable":false},{"name":"b","type":"l"}]}"#;
const MAP: &str =
    r#"{"type":"+m","children":[{"name":"key","type":"l"},{"name":"value","type":"l"}]}"#;
const FIXED: &str = r#"{"type":"+w:4096","children":[{"name":"item","type":"l"}]}"#;

pub(super) fn all() -> List {
    let mut list = List::default();
    let mut add = |name: &str, wasm| list.add(name, "function.output", wasm);
    // Lists of one long each, with one lie.
    let lists = |offsets: [i32; 4], values: i64| {
        let mut image = Image::default();
        let longs = image.longs(&[1, 2, 3]);
        let child = image.array(values, &[0, longs], &[], 0);
        let offsets = image.words(&offsets);
        let out = image.array(3, &[0, offsets], &[child], 0);
        image.guest(LIST, out)
    };
    add("list offsets fall", lists([0, 2, 1, 3], 3));
    add("list offsets are negative", lists([-2, -1, 0, 1], 3));
    add(
        "list offsets past the values",
        lists([0, 1, 2, i32::MAX], 3),
    );
    add(
        "values inside say too much",
        lists([0, 1, 2, 1 << 30], 1 << 40),
    );
    add(
        "values inside say less than nothing",
        lists([0, 1, 2, 3], -1),
    );
    // A child that is its own parent, and one that is its own child's child.
    let mut image = Image::default();
    let offsets = image.words(&[0, 1, 2, 3]);
    let out = image.array(3, &[0, offsets], &[BASE], 0);
    let children = out - 8;
    image.poke(children, out);
    add("a cycle of children", image.guest(LISTS, out));
    let mut image = Image::default();
    let offsets = image.words(&[0, 1, 2, 3]);
    let mut inner = image.array(3, &[0, offsets], &[0], 0);
    for _ in 0..400 {
        inner = image.array(3, &[0, offsets], &[inner], 0);
    }
    add("children four hundred deep", image.guest(LISTS, inner));
    for (name, count) in [("no children", 0), ("a trillion children", 1_i64 << 40)] {
        let mut image = Image::default();
        let offsets = image.words(&[0, 1, 2, 3]);
        let out = image.array(3, &[0, offsets], &[0], 0);
        image.poke(out + 32, count as u32);
        image.poke(out + 36, (count as u64 >> 32) as u32);
        add(name, image.guest(LIST, out));
    }
    for (name, at) in [("child near 2^32", u32::MAX - 7), ("child of zero", 0)] {
        let mut image = Image::default();
        let offsets = image.words(&[0, 1, 2, 3]);
        let out = image.array(3, &[0, offsets], &[at], 0);
        add(name, image.guest(LIST, out));
    }
    // Dictionaries.
    let codes = |keys: [u8; 3], dictionary: Option<u32>| {
        let mut image = Image::default();
        let (offsets, text) = (image.words(&[0, 1, 2]), image.put(b"ab"));
        let values = image.array(2, &[0, offsets, text], &[], 0);
        let keys = image.put(&keys);
        let out = image.array(3, &[0, keys], &[], dictionary.unwrap_or(values));
        image.guest(CODES, out)
    };
    add("dictionary key past the values", codes([0, 1, 2], None));
    add("negative dictionary key", codes([0, 1, 0xff], None));
    add("dictionary is missing", codes([0, 1, 0], Some(0)));
    add("dictionary near 2^32", codes([0, 1, 0], Some(u32::MAX - 7)));
    let mut image = Image::default();
    let keys = image.put(&[0, 0, 0]);
    let out = image.array(3, &[0, keys], &[], 1);
    image.poke(out + 48, out);
    add("dictionary of itself", image.guest(CODES, out));
    // Structs and maps.
    let pairs = |first: (i64, u32), second: i64| {
        let mut image = Image::default();
        let (longs, bits) = (image.longs(&[1, 2, 3]), image.put(&[0b101]));
        let validity = [0, bits][first.1 as usize];
        let a = image.array(first.0, &[validity, longs], &[], 0);
        let b = image.array(second, &[0, longs], &[], 0);
        let out = image.array(3, &[0], &[a, b], 0);
        image.guest(PAIR, out)
    };
    add("null in a non-null field", pairs((3, 1), 3));
    add("a field is shorter than its struct", pairs((3, 0), 2));
    let mut image = Image::default();
    let (longs, bits) = (image.longs(&[1, 2, 3]), image.put(&[0b011]));
    let keys = image.array(3, &[bits, longs], &[], 0);
    let values = image.array(3, &[0, longs], &[], 0);
    let entries = image.array(3, &[0], &[keys, values], 0);
    let offsets = image.words(&[0, 1, 2, 3]);
    let out = image.array(3, &[0, offsets], &[entries], 0);
    add("a key that is null", image.guest(MAP, out));
    let mut image = Image::default();
    let longs = image.longs(&[1, 2, 3]);
    let child = image.array(3, &[0, longs], &[], 0);
    let out = image.array(3, &[0], &[child], 0);
    add(
        "lists of a fixed size without their values",
        image.guest(FIXED, out),
    );
    // Views: inline up to 12 bytes, otherwise length, prefix, buffer, offset.
    let views = |view: [i32; 4], buffers: i64, text: &[u8]| {
        let mut image = Image::default();
        let data = image.put(text);
        let lengths = image.longs(&[text.len() as i64]);
        let views = image.words(&[view, [0; 4], [0; 4]].concat());
        let out = image.array(3, &[0, views, data, lengths], &[], 0);
        image.poke(out + 24, buffers as u32);
        image.poke(out + 28, (buffers as u64 >> 32) as u32);
        image.guest("\"vu\"", out)
    };
    let text = b"a text of twenty....";
    let prefix = i32::from_le_bytes(*b"a te");
    add("view of another buffer", views([20, prefix, 1, 0], 4, text));
    add(
        "view of a buffer before the first",
        views([20, prefix, -1, 0], 4, text),
    );
    add("view past the end", views([20, prefix, 0, 1], 4, text));
    add(
        "view with a negative length",
        views([-20, prefix, 0, 0], 4, text),
    );
    add("view with another prefix", views([20, 0, 0, 0], 4, text));
    add(
        "view of half a character",
        views([20, prefix, 0, 0], 4, b"a text of twenty...\xc3"),
    );
    add(
        "two billion buffers of views",
        views([20, prefix, 0, 0], 1 << 31, text),
    );
    // Of another type than was promised.
    let mut image = Image::default();
    let longs = image.longs(&[1, 2, 3]);
    let out = image.array(3, &[0, longs], &[], 0);
    for (name, ty) in [
        ("a number for a text", "\"u\""),
        ("a number for a list", LIST),
        ("a number for codes", CODES),
    ] {
        add(name, image.guest(ty, out));
    }
    let wide = [&[0xff_u8; 31][..], &[0x7f]].concat();
    let mut image = Image::default();
    let values = image.put(&wide.repeat(3));
    let out = image.array(3, &[0, values], &[], 0);
    add("wide decimal overflow", image.guest("\"d:76,0,256\"", out));
    // Sixty columns over the same forty megabytes.
    let mut image = Image::default();
    let offsets = image.words(&[0, 14 << 20, 28 << 20, 42 << 20]);
    let child = image.array(3, &[0, offsets, 1 << 20], &[], 0);
    let out = image.array(3, &[0], &[child; 60], 0);
    let fields: Vec<_> = (0..60)
        .map(|n| format!(r#"{{"name":"c{n}","type":"z"}}"#))
        .collect();
    let returns = format!(r#"{{"type":"+s","children":[{}]}}"#, fields.join(","));
    let grow = "(drop (memory.grow (i32.const 800)))";
    add(
        "many columns over the same bytes",
        image.guest_after(grow, &returns, out),
    );
    list
}
