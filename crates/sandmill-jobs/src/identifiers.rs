use std::collections::HashSet;

/// Every word of a statement that could name a function, in lower case. Comments and texts are
/// skipped; more words than needed do no harm: a pin that is not used costs nothing.
pub(crate) fn identifiers(sql: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' => 1 + quoted(&rest[1..], '\''),
            '"' => {
                let length = quoted(&rest[1..], '"');
                let word = &rest[1..1 + length];
                found.insert(word.strip_suffix('"').unwrap_or(word).to_lowercase());
                1 + length
            }
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '$' => dollar(rest),
            c if c.is_alphabetic() || c == '_' => {
                let word = rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                found.insert(rest[..word].to_lowercase());
                word
            }
            c => c.len_utf8(),
        };
        rest = &rest[length..];
    }
    found
}

/// Length up to and with the closing quote; a missing one ends with the text.
fn quoted(text: &str, quote: char) -> usize {
    text.find(quote).map_or(text.len(), |n| n + 1)
}

/// Length of a comment, with those inside of it.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0usize, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a text between `$tag$` marks; 1 when the dollar starts no such text.
fn dollar(text: &str) -> usize {
    let legal = |c: char| c.is_alphanumeric() || c == '_';
    let tag = text[1..]
        .find(|c: char| !legal(c))
        .map_or(text.len(), |n| n + 1);
    if !text[tag..].starts_with('$') || text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return 1;
    }
    let mark = &text[..=tag];
    let body = &text[mark.len()..];
    mark.len() + body.find(mark).map_or(body.len(), |n| n + mark.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_texts_are_not() {
        let sql = "SELECT Haversine(a,b1), \"my_f\"(1) /* no_f() */ FROM t -- no_g()\n WHERE x='no_h()' || é('";
        let mut found: Vec<_> = identifiers(sql).into_iter().collect();
        found.sort();
        let expected = [
            "a",
            "b1",
            "from",
            "haversine",
            "my_f",
            "select",
            "t",
            "where",
            "x",
            "é",
        ];
        assert_eq!(found, expected);
        let nested = identifiers("SELECT /*/ don't /* deeper */ */ f(x), $1, $q$ 'g()' $q$, h()");
        assert!(
            nested.contains("f") && nested.contains("h") && !nested.contains("g"),
            "{nested:?}"
        );
        assert!(identifiers("'\"ü").is_empty());
        assert!(identifiers("\"ü").contains("ü"));
    }
}
