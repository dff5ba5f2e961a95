//! Free text by people: which characters it may not have.

/// Whether a character steers how text is shown instead of being shown: control characters, the marks that turn the direction
/// of writing, line separators, invisible tags, and what shows nothing: `Default_Ignorable_Code_Point` of Unicode, and a letter
/// that looks blank. With them an actor or a reason could show itself as something else in a log, on a terminal or in a browser.
/// Joiners and selectors of variants stay, as scripts and emoji need them.
pub(crate) fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// Whether a character shows something by itself.
pub(crate) fn is_visible(character: char) -> bool {
    let modifies = matches!(character,
        '\u{200c}' | '\u{200d}' | '\u{180b}'..='\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
    !(character.is_whitespace() || modifies || is_hidden(character))
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
        for hidden in "\u{200b}\u{2060}\u{ad}\u{3164}\u{2800}\u{115f}\u{34f}\u{180e}\u{17b4}\u{ffa0}\u{e0fff}".chars() {
            assert!(is_hidden(hidden) && !is_visible(hidden), "{hidden:?}");
        }
        for joins in "\u{200c}\u{200d}\u{fe0f}\u{180b}\u{e0100} \u{a0}\u{3000}".chars() {
            assert!(!is_hidden(joins) && !is_visible(joins), "{joins:?}");
        }
        assert!("aé中ש👩".chars().all(is_visible));
        for shown in "aé ﷺ中שלום مرحبا 👩\u{200d}🚀 \u{200c} \u{a0}".chars() {
            assert!(!is_hidden(shown), "{shown:?}");
        }
    }
}
