//! Free text by people: which characters it may not have.

/// Whether a character steers how text is shown instead of being shown: control characters, the marks that turn the direction
/// of writing, line separators, the byte order mark and invisible tags. With them an actor or a reason could show itself as
/// something else in a log, on a terminal or in a browser. Joiners stay, as scripts and emoji need them.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_hidden_and_what_is_read_is_not() {
        for hidden in
            "\0\n\r\t\u{1b}\u{7f}\u{85}\u{9b}\u{202e}\u{2066}\u{2069}\u{200f}\u{61c}\u{2028}\u{feff}\u{e0041}".chars()
        {
            assert!(is_hidden(hidden), "{hidden:?}");
        }
        for shown in "aé ﷺ中שלום مرحبا 👩\u{200d}🚀 \u{200c} \u{a0}".chars() {
            assert!(!is_hidden(shown), "{shown:?}");
        }
    }
}
