/// A text without what would command the terminal. Modules and statements are not ours: their
/// escape sequences could hide or forge what the reader sees. Line ends and tabs stay.
pub(crate) fn plain(text: &str) -> String {
    let commands = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            // Marks that turn the direction of writing around.
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(commands, "·")
}
