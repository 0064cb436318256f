//! Functions that give rows.

use sandmill::{Batch, Group, Record, Rows};

/// A text so many times, with numbers from 0.
#[sandmill::table(columns(text, i))]
pub fn repeat_rows(text: &str, n: i64) -> impl Iterator<Item = (&str, i64)> {
    (0..n).map(move |i| (text, i))
}

/// The words of a text.
#[sandmill::table(columns(word))]
pub fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

/// A number.
#[derive(Record)]
pub struct Number {
    x: Option<i64>,
}

/// A number and twice as much.
#[derive(Record)]
pub struct Doubled {
    x: i64,
    twice: i64,
}

/// Keeps the numbers from `minimum` on.
pub struct FilterDouble {
    minimum: i64,
}

/// Keeps the numbers from `minimum` on, and doubles them.
#[sandmill::map]
impl FilterDouble {
    pub fn new(minimum: i64) -> Self {
        Self { minimum }
    }

    pub fn push(&mut self, batch: Batch<'_, Number>, out: &mut Rows<Doubled>) {
        for x in batch
            .iter()
            .filter_map(|row| row.x)
            .filter(|x| *x >= self.minimum)
        {
            out.push(Doubled {
                x,
                twice: x.wrapping_mul(2),
            });
        }
    }
}

/// How many rows there were.
#[derive(Default)]
pub struct BatchCount {
    rows: i64,
}

/// A number of rows.
#[derive(Record)]
pub struct Count {
    rows: i64,
}

/// Counts rows.
#[sandmill::map]
impl BatchCount {
    pub fn push(&mut self, batch: Batch<'_, Number>, _out: &mut Rows<Count>) {
        self.rows += batch.len() as i64;
    }

    pub fn finish(&mut self, out: &mut Rows<Count>) {
        out.push(Count { rows: self.rows });
    }
}

/// A value with a key.
#[derive(Record)]
pub struct Keyed {
    k: Option<i64>,
    v: Option<f64>,
}

/// Takes the mean of its group from each value.
#[sandmill::grouped_map]
pub fn center(group: Group<'_, Keyed>, out: &mut Rows<Keyed>) {
    let values = group.iter().filter_map(|row| row.v);
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), v| (sum + v, count + 1.0));
    for row in group.iter() {
        out.push(Keyed {
            k: row.k,
            v: row.v.map(|v| v - sum / count),
        });
    }
}

/// A row on the left.
#[derive(Record)]
pub struct Left {
    k: Option<i64>,
    #[allow(dead_code)]
    a: Option<i64>,
}

/// A row on the right.
#[derive(Record)]
pub struct Right {
    k: Option<i64>,
    #[allow(dead_code)]
    b: Option<i64>,
}

/// How many rows a key has on each side.
#[derive(Record)]
pub struct Matches {
    k: Option<i64>,
    lefts: i64,
    rights: i64,
}

/// Counts the rows of each key on both sides.
#[sandmill::cogrouped_map]
pub fn match_count(left: Group<'_, Left>, right: Group<'_, Right>, out: &mut Rows<Matches>) {
    let k = left
        .get(0)
        .map(|row| row.k)
        .or_else(|| right.get(0).map(|row| row.k));
    out.push(Matches {
        k: k.flatten(),
        lefts: left.len() as i64,
        rights: right.len() as i64,
    });
}
